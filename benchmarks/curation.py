"""What curation finds, on data whose truth is known: ``python -m benchmarks.curation [ROW…]``; no
row means all of them.

One line per figure. Archives are taken from ``../shared/data`` and extracted, with everything else,
into ``--scratch``. Each row runs in a process of its own and its lines are kept there with its
seconds: the same command goes on where the last one ended, ``--again`` measures anew.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import curation_balance, curation_contrastive
from benchmarks.curation_coreset import coreset
from benchmarks.curation_duplicates import duplicates
from benchmarks.curation_kmeans import k_means
from benchmarks.curation_memory import memory
from stages.core.io import write_text

ROWS = {
    "balance-digits": curation_balance.digits,
    "balance-shapes": curation_balance.shapes,
    "balance-kinds": curation_balance.kinds,
    "balance-cifar10": curation_balance.photographs,
    "duplicates": duplicates,
    "coreset": coreset,
    "contrastive-digits": curation_contrastive.digits,
    "contrastive-cifar10": curation_contrastive.photographs,
    "kmeans": k_means,
    "memory": memory,
}


def measured(name: str, scratch: Path) -> bool:
    """Run one row in a process of its own, show its lines and keep them; whether it came to its
    end.
    """
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "benchmarks.curation",
        "--inside",
        name,
        "--scratch",
        str(scratch),
    ]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    lines.append(f"{name} took {time.monotonic() - began:.0f} s\n")
    print(lines[-1], end="", flush=True)
    if process.returncode == 0:
        write_text(kept(name, scratch), "".join(lines))
    return process.returncode == 0


def kept(name: str, scratch: Path) -> Path:
    """Where the lines of a row are."""
    return scratch / "results" / f"{name}.txt"


def main() -> None:
    """Run the rows asked for, one after the other; one that fails does not take the others with
    it.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW", help=", ".join(ROWS))
    default = Path(tempfile.gettempdir()) / "rootstock-curation"
    parser.add_argument(
        "--scratch", type=Path, default=default, help="where to work (default: %(default)s)"
    )
    parser.add_argument(
        "--again", action="store_true", help="measure rows anew that have been measured"
    )
    parser.add_argument("--inside", choices=ROWS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    scratch = arguments.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    if arguments.inside:
        ROWS[arguments.inside](scratch)
        return
    failed = []
    wanted = arguments.rows or list(ROWS)
    for number, name in enumerate(wanted, 1):
        print(f"== {name} ({number} of {len(wanted)})", flush=True)
        if kept(name, scratch).is_file() and not arguments.again:
            print(kept(name, scratch).read_text(), end="", flush=True)
        elif not measured(name, scratch):
            failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
