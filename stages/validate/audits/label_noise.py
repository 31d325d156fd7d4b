"""Wrong labels: suspected where neighbours are all of one mind against them, named by a classifier
that does not know them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from stages.core.data.manifest import Rows
from stages.core.random import numpy_generator
from stages.core.sections import Positive, Rate, Share
from stages.validate.audit import Answer, AuditSettings, Pool, Severity
from stages.validate.confident_learning import margins
from stages.validate.neighbours import nearest

Labels = npt.NDArray[np.int64]

BALANCE = 2


class Settings(AuditSettings):
    severity: Severity = "warning"
    neighbours: Positive = 10
    confidence: Share = 0.9  # share of the neighbours that must agree on another class
    max_share: Share = 0.02  # wrong labels that are tolerated
    margin: Share = 0.4  # by which another class must beat the label for an image to be named
    # images whose neighbours agree; where there are fewer, shape does not tell these classes apart
    min_agreed: Share = 0.1
    alpha: Rate = 0.01
    max_images: Positive = 10000


def audit(pool: Pool, settings: Settings) -> list[Answer]:
    """Where neighbours by shape agree on a class, the label should be that class.

    A neighbour's label may be wrong, too, but hardly that of all of them; so the share of images
    against which their neighbours agree estimates the share of wrong labels, but from few images.
    Where it is over ``max_share``, a second opinion that sees more of the wrong labels
    (:func:`stages.validate.confident_learning.margins`) names images and decides: it would find too
    many where it does not know the classes, which the neighbours tell. Every class has the same
    number of neighbours to offer, so that a common class does not outvote a rare one; classes with
    fewer than twice ``neighbours`` images are not judged.
    """
    classes = pool.manifest.classes
    expected = f"at most {settings.max_share:.1%} of the labels are wrong"
    labelled = pool.manifest.frame["label"].notna().to_numpy(bool)[pool.distinct]
    rows = pool.draw(pool.distinct[labelled], settings.max_images, "label noise")
    labels = pool.manifest.labels(rows)
    known = np.bincount(labels, minlength=len(classes)) >= 2 * settings.neighbours
    if known.sum() < 2:
        return [
            Answer(
                expected,
                True,
                f"fewer than two classes have {2 * settings.neighbours} labelled images",
            )
        ]
    rows, labels = rows[known[labels]], labels[known[labels]]
    votes = _votes(pool, rows, labels, settings.neighbours)
    agreed = votes.max(axis=1) >= settings.confidence
    other = agreed & (votes.argmax(axis=1) != labels)
    found = (
        f"{other.sum()} of {agreed.sum()} images whose neighbours agree bear another label;"
        f" {len(rows)} images looked at"
    )
    if agreed.mean() < settings.min_agreed:
        return [Answer(expected, True, f"shape does not tell these classes apart: {found}")]
    if other.sum() <= settings.max_share * agreed.sum():
        return [Answer(expected, True, found)]
    beaten, instead = margins(pool, rows, labels)
    suspects = np.flatnonzero(beaten >= settings.margin)
    if (
        binomtest(len(suspects), len(rows), settings.max_share, alternative="greater").pvalue
        > settings.alpha
    ):
        return [
            Answer(expected, True, f"{found}; a second opinion suspects {len(suspects)} of all")
        ]
    suspects = suspects[np.argsort(-beaten[suspects], kind="stable")]
    details = tuple(
        f"labelled {classes[labels[one]]}, looks like {classes[instead[one]]}" for one in suspects
    )
    return [Answer(expected, False, f"{found}; {len(suspects)} named", rows[suspects], details)]


def _votes(pool: Pool, rows: Rows, labels: Labels, neighbours: int) -> npt.NDArray[np.float64]:
    """Share of the neighbours of each image in each class ``(n, classes)``; of every class equally
    many may be neighbours.
    """
    sizes = np.bincount(labels)
    most = BALANCE * sizes[sizes > 0].min()
    lot = numpy_generator(pool.seed, "audit", "label noise bank")
    chosen = [
        lot.permutation(np.flatnonzero(labels == one))[:most] for one in np.flatnonzero(sizes)
    ]
    bank = np.sort(np.concatenate(chosen))
    shapes = pool.shapes(rows)
    index, _ = nearest(shapes, shapes[bank], neighbours + 1)
    near = bank[index]
    others = near != np.arange(len(rows))[:, None]
    others[others.all(axis=1), -1] = False  # whoever is not in the bank has one neighbour too many
    votes = np.zeros((len(rows), len(sizes)))
    np.add.at(votes, (np.nonzero(others)[0], labels[near[others]]), 1)
    return votes / neighbours
