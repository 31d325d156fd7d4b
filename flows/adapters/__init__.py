"""Adapters: one package per tool, and nothing else imports the tool's insides.

May import `process`; `mlflow` may read the lock file of `dvc` and the flow runs of `prefect`.
"""
