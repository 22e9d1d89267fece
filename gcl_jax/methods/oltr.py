"""OLTR (Liu et al. 2019): attention, a memory of class centroids, and an embedding that draws on it."""

import dataclasses
from typing import ClassVar

from gcl_jax import centroids, losses
from gcl_jax.methods.base import SCALE, LossOut, Method
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class OLTR(Method):
    """CE on scale * squashed cosine + centroid_weight (attraction + repulsion_weight repulsion) (its published code).

    Centroids start as the class means of the features that this stage starts with, and are trained as parameters;
    the memory is addressed by the classifier of the stage before, which goes on. Where ``trainable`` is "head/",
    attention, feature layer and all behind them train over a frozen backbone, as in the published code on Places-LT,
    where the head "meta_embedding_512" also goes on with the feature layer of the stage before, a "linear_512". Its
    rates are the stage's optimizer.lr_mult.
    """

    scale: float = ranged(16.0, SCALE)
    centroid_weight: float = ranged(0.01, "[0, 1e4]")
    repulsion_weight: float = ranged(0.01, "[0, 1e4]")
    repulsion_margin: float = ranged(10.0, "[0, 1e6]")

    heads: ClassVar[tuple[str, ...]] = ("meta_embedding", "meta_embedding_512")
    restore: ClassVar[str] = "backbone/|head/(kernel|bias)$"  # the feature layer is another
    restores_classifier: ClassVar[bool] = True
    label_mixing: ClassVar[str] = "refused"  # each feature is drawn to the centroid of one class
    needs: ClassVar[frozenset[str]] = frozenset({"class_means"})

    def init_params(self, key, variables, info):
        params = variables["params"]
        return {**params, "head": {**params["head"], "centroids": info.class_means}}

    def loss(self, key, out, batch, t, info):
        x, memory, labels = out["features"], out["centroids"], batch["label"]
        pull = centroids.attraction(x, memory, labels, self.centroid_weight).mean()
        push = (
            self.centroid_weight * self.repulsion_weight * centroids.repulsion(x, memory, labels, self.repulsion_margin)
        )
        return LossOut(losses.cross_entropy(self.logits(out), labels), aux_loss=pull + push)

    def logits(self, out):
        return self.scale * out["scores"]
