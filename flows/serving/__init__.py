"""Serving: registered models as MLflow runs them, predictions on files, and export.

May import `registry` and below. Begin with `predict.py`.
"""
