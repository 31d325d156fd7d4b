"""DeepCluster v2: classify images into clusters of their embeddings from the epoch before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from stages.core.image.backbones import Backbone
from stages.core.image.views.engine import Views
from stages.core.losses.clustering import assignment_entropy
from stages.core.losses.contrastive import prototype_cross_entropy
from stages.core.random import generator
from stages.core.training.queue import Bank
from stages.pretrain.method import Auto, Losses, MethodSettings, Projected, method, sized


@method(
    "deepcluster_v2",
    paper="Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, 2020",
    kind="clustering",
)
class DeepClusterV2(Projected):
    """Spherical k-means on a bank after every epoch; its centroids are the classifier."""

    class Settings(MethodSettings):
        temperature: float = 0.1
        clusters: Auto = "auto"
        iterations: int = 10
        projector: tuple[int, ...] = (512, 128)

    def __init__(self, backbone: Backbone, settings: Any, images: int, seed: int) -> None:
        super().__init__(backbone, settings, images, seed)
        count = sized(settings.clusters, images, 1 / 16, 4, 4096, "clusters")
        self.bank = Bank(images, settings.projector[-1], seed)
        self.register_buffer("centroids", self.bank.rows[: min(count, images)].clone())
        self.register_buffer("labels", (self.bank.rows @ self.centroids.T).argmax(dim=1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.centroids: Tensor
        self.labels: Tensor
        self.seen: Tensor

    def forward(self, views: Views) -> Losses:
        """Both views are of the image's cluster."""
        embeddings = self.projected(views.images)
        target = self.labels[views.index].repeat(2)
        found = prototype_cross_entropy(
            embeddings, self.centroids, target, self.settings.temperature
        )
        self.bank.hold(views.index, embeddings[: len(views.index)])
        used = torch.bincount(self.labels, minlength=len(self.centroids)) / len(self.labels)
        return {"loss": found, "assignment_entropy": assignment_entropy(used.unsqueeze(0))}

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The bank takes what was seen; once that is every image, clusters are made again."""
        self.seen += sum(len(index) for index, _ in self.bank.held)
        self.bank.advance(0.0)
        if int(self.seen) >= self.images:
            self.seen.zero_()
            self.centroids.copy_(self._clusters(progress))
            self.labels.copy_((self.bank.rows @ self.centroids.T).argmax(dim=1))

    def _clusters(self, progress: float) -> Tensor:
        rows, count = self.bank.rows, len(self.centroids)
        draw = generator(self.seed, "clusters", round(progress, 9))
        centroids = rows[torch.randperm(len(rows), generator=draw)[:count].to(rows.device)]
        for _ in range(self.settings.iterations):
            member = (rows @ centroids.T).argmax(dim=1)
            sums = torch.zeros_like(centroids).index_add_(0, member, rows)
            filled = torch.bincount(member, minlength=count).unsqueeze(1) > 0
            centroids = torch.where(filled, normalize(sums, dim=1), centroids)
        return centroids
