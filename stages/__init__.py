"""The science: one package per DVC stage, run with ``python -m stages.<stage>``; what they share is
in ``stages.core``.
"""

import os

# Before torch loads its OpenMP: threads that spin while they wait make two processes on the same
# cores five to ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
