"""MLflow: the tracking store, and what a pipeline run records there.

May import `process`, `adapters.dvc` and `adapters.prefect`. Begin with `store.py` and
`recorder.py`.
"""
