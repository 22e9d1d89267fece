"""Label-distribution-aware margins (Cao et al. 2019), with deferred re-weighting: LDAM-DRW."""

import dataclasses
from typing import ClassVar

from gcl_jax import class_weights, losses
from gcl_jax.methods.base import SCALE, LossOut
from gcl_jax.methods.reweighting import Reweighted
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class LDAM(Reweighted):
    """CE on s * (cos_j - m_y [j = y]), m_j ~ n_j^(-1/4) with the rarest class at ``max_margin`` (LDAM, eq. 12-13).

    The mean divides by the sum of the weights. The default is LDAM-DRW; ``reweighting`` = "none" is LDAM alone.
    """

    reweighting: str = "deferred"
    scale: float = ranged(30.0, SCALE)
    max_margin: float = ranged(0.5, "[0, 10]")

    heads: ClassVar[tuple[str, ...]] = ("cosine",)  # a margin is measured in cosines

    def constants(self, counts):
        return super().constants(counts) | {"margin": class_weights.ldam_margins(counts, self.max_margin)}

    def loss(self, key, out, batch, t, info):
        per_example = losses.ldam(out["scores"], batch["label"], info.constants["margin"], scale=self.scale)
        weight = self.class_weight(t, info)
        return LossOut(per_example, None if weight is None else weight[batch["label"]])

    def logits(self, out):
        return self.scale * out["scores"]
