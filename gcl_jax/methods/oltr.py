"""OLTR (Liu et al. 2019): attention, a memory of class centroids, and an embedding that draws on it."""

import dataclasses
from typing import ClassVar

from gcl_jax import centroids, losses
from gcl_jax.errors import require, require_one_of
from gcl_jax.methods.base import LR_FACTOR, SCALE, Group, LossOut, Method
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class OLTR(Method):
    """CE on scale * squashed cosine + centroid_weight (attraction + repulsion_weight repulsion) (its published code).

    Centroids start as the class means of the features that this stage starts with, and are trained as parameters;
    the memory is addressed by the classifier of the stage before, which goes on. ``trains`` = "classifier" freezes the
    backbone and trains attention, feature layer and all behind them, as the published code does on Places-LT, where
    the ``head`` "meta_embedding_512" also goes on with the feature layer of the stage before, a "linear_512".
    ``feature_lr_factor`` is the backbone's, the attention's and the feature layer's, ``centroid_lr_factor`` the
    centroids'.
    """

    head: str = "meta_embedding"
    scale: float = ranged(16.0, SCALE)
    centroid_weight: float = ranged(0.01, "[0, 1e4]")
    repulsion_weight: float = ranged(0.01, "[0, 1e4]")
    repulsion_margin: float = ranged(10.0, "[0, 1e6]")
    feature_lr_factor: float = ranged(0.1, LR_FACTOR)
    centroid_lr_factor: float = ranged(0.1, LR_FACTOR)

    needs: ClassVar[frozenset[str]] = frozenset({"class_means"})

    def __post_init__(self):
        super().__post_init__()
        require_one_of("head", self.head, ("meta_embedding", "meta_embedding_512"))
        require_one_of("trains", self.trains, ("all", "classifier"))
        require(not self.fresh_head, "fresh_head", self.fresh_head, "False: the classifier before addresses the memory")

    def group(self, path):
        if path[0] != "head":
            return "features" if self.trains == "all" else None
        if path[1] == "centroids":
            return "centroids"
        return "features" if path[1] == "attention" or path[1].startswith("feature_") else "head"

    def groups(self):
        return {
            "features": Group(self.feature_lr_factor),
            "head": Group(),
            "centroids": Group(self.centroid_lr_factor),
        }

    def inherits(self, path):
        fresh = self.head == "meta_embedding" and path[-1].startswith("feature_")
        return path[0] != "head" or (super().inherits(path) and not fresh)

    def init_params(self, key, params, stats):
        return {**params, "head": {**params["head"], "centroids": stats.class_means}}

    def loss(self, key, out, batch, t, stats):
        x, memory, labels = out["features"], out["centroids"], batch["label"]
        pull = centroids.attraction(x, memory, labels, self.centroid_weight).mean()
        push = (
            self.centroid_weight * self.repulsion_weight * centroids.repulsion(x, memory, labels, self.repulsion_margin)
        )
        return LossOut(losses.cross_entropy(self.logits(out), labels), penalty=pull + push)

    def logits(self, out):
        return self.scale * out["scores"]
