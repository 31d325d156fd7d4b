"""What an objective asks of the view engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewPlan:
    """How many views of each image, and which.

    Attributes:
        whole: views at full size. local: further small crops (multi-crop). local_size: their side
        as a share of the full side. mask: name of a mask operation whose patch mask each full view
        carries, or None. mask_ratio: share of patches masked. patches: mask cells per side.
        chances: uniform numbers drawn for each image, for what an objective itself decides by
        chance.
    """

    whole: int = 2
    local: int = 0
    local_size: float = 0.5
    mask: str | None = None
    mask_ratio: float = 0.6
    patches: int = 8
    chances: int = 0


def one_view() -> ViewPlan:
    """One augmented view of each image."""
    return ViewPlan(whole=1)


def two_views() -> ViewPlan:
    """Two augmented views of each image."""
    return ViewPlan(whole=2)


def multi_crop(local: int = 6, local_size: float = 0.5) -> ViewPlan:
    """Two full views and ``local`` small ones.

    Paper: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, 2020.
    """
    return ViewPlan(whole=2, local=local, local_size=local_size)


def masked(kind: str = "random", ratio: float = 0.6, patches: int = 8, whole: int = 1) -> ViewPlan:
    """Full views that each carry a patch mask."""
    return ViewPlan(whole=whole, mask=kind, mask_ratio=ratio, patches=patches)
