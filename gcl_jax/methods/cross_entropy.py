"""Cross-entropy, plain, with mixup or focal: the baseline of every table."""

import dataclasses

import jax

from gcl_jax import losses
from gcl_jax.errors import require
from gcl_jax.methods.base import LossOut, Method
from gcl_jax.mixup import mix, mixed_loss


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Method):
    """Softmax cross-entropy on ``scale`` * scores; scale is 1 for a linear head, 16 to 30 for a cosine one.

    ``mixup_alpha`` = 0 is off; ``focal_gamma`` > 0 is the focal loss (Lin et al. 2017).
    """

    scale: float = 1.0
    mixup_alpha: float = 0.0
    focal_gamma: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        require(self.scale > 0, "scale", self.scale, "positive")
        require(self.mixup_alpha >= 0, "mixup_alpha", self.mixup_alpha, "0 (off) or positive")
        require(self.focal_gamma >= 0, "focal_gamma", self.focal_gamma, "0 (off) or positive")

    def prepare(self, key, streams, t):
        return mix(key, streams["main"], self.mixup_alpha)

    def loss(self, key, out, batch, t, stats):
        def term(key: jax.Array, labels: jax.Array) -> jax.Array:
            del key  # nothing random in it
            return losses.focal(losses.cross_entropy(self.logits(out), labels), self.focal_gamma)

        return LossOut(mixed_loss(key, batch, term))

    def logits(self, out):
        return self.scale * out["scores"]
