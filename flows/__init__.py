"""Orchestration: Prefect flows, the adapter to DVC, MLflow lineage and registry. Never trains,
never touches tensors.
"""
