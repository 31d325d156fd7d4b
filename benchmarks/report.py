"""What ``benchmarks/throughput.py`` prints: rates, the phase split, and medians of ratios of
neighbouring turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

Turns = Mapping[str, Sequence[Mapping[str, float]]]

AGAINST = {
    "lightly": ("ours", "lightly"),
    "lightly/fp32": ("ours-fp32", "lightly"),
    "bare": ("ours", "bare"),
}


def report(targets: Mapping[str, float], turns: Turns, samples: int) -> None:
    """Everything about one case; ``samples`` is the number of images of a turn."""
    rates = {
        who: [samples / turn["seconds"] for turn in taken]
        for who, taken in turns.items()
        if who != "peak"
    }
    for who, found in rates.items():
        rate, held = statistics.median(found), max(turn["memory"] for turn in turns[who])
        print(f"  {who:<10} {rate:9.1f} samples/s   {_phases(turns[who])}   memory {held:6.0f} MiB")
    for label, (mine, other) in AGAINST.items():
        if mine in rates and other in rates:
            _line(
                [a / b for a, b in zip(rates[mine], rates[other], strict=True)],
                f"{mine} ÷ {other}",
                targets.get(label),
            )
    if {"ours", "bare", "peak"} <= turns.keys():
        work = turns["bare"][0]["flops"] / samples
        peaks = [turn["flops"] / turn["seconds"] for turn in turns["peak"]]
        shares = [rate * work / peak for rate, peak in zip(rates["ours"], peaks, strict=True)]
        _line(
            shares,
            f"ours ÷ bf16 matmul peak ({statistics.median(peaks) / 1e12:.2f} TFLOP/s)",
            targets.get("peak"),
        )
    if {"ours", "lightly"} <= turns.keys():
        held = [
            a["memory"] / b["memory"] for a, b in zip(turns["ours"], turns["lightly"], strict=True)
        ]
        _line(held, "peak memory ÷ lightly's", 1.0, "below")


def _phases(taken: Sequence[Mapping[str, float]]) -> str:
    """Median shares of a turn: drawing views, getting at images, and the rest; one figure where a
    loader does both.
    """
    shares = {
        name: statistics.median(turn[name] / turn["seconds"] for turn in taken)
        for name in ("views", "data", "waiting")
        if name in taken[0]
    }
    told = [f"{name} {share:.1%}" for name, share in shares.items()] + [
        f"compute {1 - sum(shares.values()):.1%}"
    ]
    return f"{', '.join(told):<40}"


def _line(
    ratios: Sequence[float], label: str, target: float | None, side: str = "at least"
) -> None:
    goal = f"   to reach: {side} {target:g}" if target else ""
    print(
        f"  {label:<44} {statistics.median(ratios):6.2f}   ({min(ratios):.2f} to"
        f" {max(ratios):.2f}){goal}"
    )
