"""MiSLAS's second stage (Zhong et al. 2021): label-aware smoothing on scaled logits; its first is CE + mixup."""

import dataclasses
from typing import ClassVar

from gcl_jax import class_weights, losses
from gcl_jax.errors import require_one_of
from gcl_jax.methods.base import SCALE, LossOut, Method
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class MiSLAS(Method):
    """Label-aware smoothing, eps_j from ``smoothing_head`` to ``smoothing_tail``, on z_j = s_j (f . w_j + b_j).

    The classifier goes on from stage 1, in the recipes at a part of the rate (optimizer.lr_mult); the scales start at
    1. "Shifted" batch norm is the stage's bn = "stats_only". ``smoothing_shape`` is one of
    `class_weights.SMOOTHING_SHAPES`; "power" is the square.
    """

    scale: float = ranged(1.0, SCALE)
    smoothing_head: float = ranged(0.3, "[0, 1]")
    smoothing_tail: float = ranged(0.0, "[0, 1]")
    smoothing_shape: str = "concave"

    heads: ClassVar[tuple[str, ...]] = ("linear_lws", "cosine_lws")
    trainable: ClassVar[str] = "head/"

    def __post_init__(self):
        super().__post_init__()
        require_one_of("smoothing_shape", self.smoothing_shape, class_weights.SMOOTHING_SHAPES)

    def constants(self, counts):
        eps = class_weights.smoothing_sizes(counts, self.smoothing_head, self.smoothing_tail, self.smoothing_shape)
        return {"smoothing": eps}

    def loss(self, key, out, batch, t, info):
        return LossOut(losses.label_aware_smoothing(self.logits(out), batch["label"], info.constants["smoothing"]))

    def logits(self, out):
        return self.scale * out["scores"]
