"""Remote execution of a stage through a Prefect work pool.

Begin with `client.py`; `worker.py` is the other side, `mailbox.py` the files between them.
"""
