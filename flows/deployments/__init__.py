"""Deployments: services, schedules, workers and webhooks.

May import `experiment`, `monitoring` and below. Begin with `deploy.py` and `entrypoints.py`.
"""
