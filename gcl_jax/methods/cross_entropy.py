"""Cross-entropy, plain, with mixup, focal or re-weighted: the baselines of every table."""

import dataclasses

from gcl_jax import losses
from gcl_jax.methods.base import FOCAL_GAMMA, MIXUP_ALPHA, SCALE, LossOut
from gcl_jax.methods.reweighting import Reweighted
from gcl_jax.mixup import mix
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Reweighted):
    """Softmax cross-entropy on ``scale`` * scores; scale is 1 for a linear head, 16 to 30 for a cosine one.

    ``mixup_alpha`` = 0 is off; ``focal_gamma`` > 0 is the focal loss (Lin et al. 2017), whose class
    weights stand inside p and whose mean is plain, as in LDAM's published code; otherwise the mean
    divides by the sum of the weights, for each of mixup's two terms by its own.
    """

    scale: float = ranged(1.0, SCALE)
    mixup_alpha: float = ranged(0.0, MIXUP_ALPHA)
    focal_gamma: float = ranged(0.0, FOCAL_GAMMA)

    def prepare(self, key, streams, t):
        return mix(key, streams["main"], self.mixup_alpha)

    def loss(self, key, out, batch, t, info):
        weight, labels = self.class_weight(t, info), batch["label"]
        per_example = losses.cross_entropy(self.logits(out), labels)
        if weight is None:
            return LossOut(losses.focal(per_example, self.focal_gamma))
        if self.focal_gamma:
            return LossOut(losses.focal(weight[labels] * per_example, self.focal_gamma))
        return LossOut(per_example, weight[labels])

    def logits(self, out):
        return self.scale * out["scores"]
