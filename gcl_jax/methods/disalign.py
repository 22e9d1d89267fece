"""Distribution alignment (DisAlign, Zhang et al. 2021): a frozen classifier's logits, adaptively calibrated."""

import dataclasses
from typing import ClassVar

from gcl_jax import class_weights, losses
from gcl_jax.errors import require_one_of
from gcl_jax.methods.base import SCALE, LossOut, Method
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class DisAlign(Method):
    """Calibrates z = scale * scores with confidence sigma(x), magnitude a and margin b, the only things that train.

    ``form`` = "paper": sigma (a z + b) + (1 - sigma) z (eq. 4-6), a = 1 and b = 0 at first: the identity;
    "published": (1 + sigma a) z + sigma b, as the classification code runs it. The loss is CE
    weighted by (1 / pi_j)^rho (eq. 9), a weighted mean; rho = 1.2 on ImageNet-LT.
    """

    scale: float = ranged(1.0, SCALE)
    form: str = "paper"
    rho: float = ranged(1.2, "[0, 10]")

    heads: ClassVar[tuple[str, ...]] = ("linear_disalign", "cosine_disalign")
    trainable: ClassVar[str] = "head/(confidence|magnitude|margin)"
    restores_classifier: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        require_one_of("form", self.form, ("paper", "published"))

    def constants(self, counts):
        return {"class_weight": class_weights.generalized_weights(counts, self.rho)}

    def loss(self, key, out, batch, t, info):
        per_example = losses.cross_entropy(self.logits(out), batch["label"])
        return LossOut(per_example, info.constants["class_weight"][batch["label"]])

    def logits(self, out):
        z, sigma = self.scale * out["scores"], out["confidence"][:, None]
        if self.form == "paper":
            return sigma * (out["magnitude"] * z + out["margin"]) + (1 - sigma) * z
        return (1 + sigma * out["magnitude"]) * z + sigma * out["margin"]
