"""The weights take at most this many MiB."""

from __future__ import annotations

from flows.promotion.evidence import Evidence, Verdict


def check(evidence: Evidence, threshold: float) -> Verdict:
    """Bytes of the safetensors the version serves."""
    found = (
        sum(file.stat().st_size for file in evidence.candidate.folder.rglob("*.safetensors"))
        / 2**20
    )
    reason = "" if found <= threshold else f"{found - threshold:.2f} MiB too large"
    return Verdict(found <= threshold, f"{found:.2f} MiB", f"≤ {threshold:.4g} MiB", reason=reason)
