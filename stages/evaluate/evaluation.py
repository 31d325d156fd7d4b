"""Subject of an evaluation: images, labels, models and how classifiers are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stages.core.image.pixel_store import PixelStore
from stages.core.metrics.representation import Labels
from stages.core.models.artifact import Classifier, Encoder
from stages.core.sections import Evaluate
from stages.core.transfer.finetune import Task
from stages.evaluate.ladder import Budget, Rows, Truth, budgets


@dataclass(frozen=True)
class Inputs:
    """Everything ``evaluate`` measures on: rows of the store with their labels, the models, and how
    classifiers are trained.

    Attributes:
        encoders: pretrained and, where there are such, distilled, control and start.
        classifier: the one that gets registered.
        scratch: the control trained from the labels alone.
        draws: subsets of labels behind each figure of a network that is trained.
    """

    store: PixelStore
    rows: Rows
    truth: Truth
    encoders: Mapping[str, Encoder]
    classifier: Classifier
    scratch: Classifier
    task: Task
    settings: Evaluate
    draws: int
    pool: Labels
    """Rows of training images without a label."""

    @property
    def steps(self) -> list[Budget]:
        """The label budgets."""
        return budgets(
            self.truth.train, self.settings.labels_per_class, self.settings.draws, self.task.seed
        )

    @property
    def usable(self) -> list[str]:
        """Encoders that fine-tuning starts from: those that pretraining did not give up."""
        alone = "scratch" in self.task.settings.candidates
        pretrained = self.encoders["pretrained"].config.get("useful", True) or not alone
        wanted = ("pretrained", "distilled") if pretrained else ()
        return [name for name in wanted if name in self.encoders]
