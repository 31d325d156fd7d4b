"""What curation finds, on data whose truth is known: ``python benchmarks/curation.py [ROW…]``; no row means all of them.

Rows: duplicates, coreset, balance, contrastive, kmeans, memory. One line per figure. Archives are taken from
``../shared/data`` and extracted, with everything else, into ``--scratch`` (kept, so that a second run starts faster).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.curation_balance import balance
from benchmarks.curation_contrastive import contrastive
from benchmarks.curation_coreset import coreset
from benchmarks.curation_duplicates import duplicates
from benchmarks.curation_kmeans import k_means
from benchmarks.curation_memory import memory

ROWS = {
    "balance": balance,
    "coreset": coreset,
    "duplicates": duplicates,
    "contrastive": contrastive,
    "kmeans": k_means,
    "memory": memory,
}


def main() -> None:
    """Run the rows asked for, one after the other; one that fails does not take the others with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW", help=", ".join(ROWS))
    default = Path(tempfile.gettempdir()) / "rootstock-curation"
    parser.add_argument("--scratch", type=Path, default=default, help="where to work (default: %(default)s)")
    arguments = parser.parse_args()
    scratch = arguments.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    failed = []
    wanted = arguments.rows or list(ROWS)
    for number, name in enumerate(wanted, 1):
        print(f"== {name} ({number} of {len(wanted)})", flush=True)
        began = time.monotonic()
        try:
            ROWS[name](scratch)
        except Exception as error:
            failed.append(name)
            print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(f"== {name} took {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
