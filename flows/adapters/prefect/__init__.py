"""Prefect: the server, flow runs, events and the GPU limit.

May import `process`. Begin with `server.py`.
"""
