"""The pipeline run: planning, execution of stages and the summary.

May import `promotion` and below. Begin with `flow.py`, then `run.py` and `stage.py`.
"""
