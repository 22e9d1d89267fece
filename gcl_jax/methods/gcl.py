"""Gaussian clouded logit adjustment (Li, Cheung, Lu; CVPR 2022), and its angular form (TAI 2024)."""

import dataclasses
from typing import ClassVar

from gcl_jax import longtail, losses
from gcl_jax.errors import require_one_of
from gcl_jax.methods.base import FOCAL_GAMMA, MIXUP_ALPHA, SCALE, LossOut, Method
from gcl_jax.mixup import mix
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class GCL(Method):
    """GCL: CE on s * (cos - k * cloud * |eps| - m at the target), eq. 9-10 as in the published code.

    Stage 1 trains all with s = 30, m = 0; stage 2 trains the classifier with s = 20,
    m = 0.1 and ``focal_gamma`` = 1 (its factor carries no gradient). ``cloud_size`` is Table 3's
    strategy: log, power (with ``cloud_exponent``) or cosine. The noise is drawn per sample and
    class, and afresh for each of mixup's two terms.
    """

    scale: float = ranged(30.0, SCALE)
    margin: float = ranged(0.0, "[-10, 10]")
    noise_multiplier: float = ranged(0.5, "[0, 100]")
    cloud_size: str = "log"
    cloud_exponent: float = ranged(1 / 3, "[1e-3, 10]")
    focal_gamma: float = ranged(0.0, FOCAL_GAMMA)
    mixup_alpha: float = ranged(1.0, MIXUP_ALPHA)

    heads: ClassVar[tuple[str, ...]] = ("cosine", "cosine_lws")  # a cloud is measured in cosines

    def __post_init__(self):
        super().__post_init__()
        require_one_of("cloud_size", self.cloud_size, longtail.CLOUD_SIZES)

    def constants(self, counts):
        return {"cloud": longtail.cloud_sizes(counts, self.cloud_size, self.cloud_exponent)}

    def prepare(self, key, streams, t):
        return mix(key, streams["main"], self.mixup_alpha)

    def loss(self, key, out, batch, t, info):
        noise = losses.gcl_noise(key, out["scores"].shape)
        return LossOut(self._per_example(out["scores"], batch["label"], noise, info.constants["cloud"]))

    def _per_example(self, cosine, labels, noise, cloud):
        return losses.gcl(
            cosine, labels, noise, cloud,
            scale=self.scale, margin=self.margin, noise_multiplier=self.noise_multiplier, focal_gamma=self.focal_gamma,
        )  # fmt: skip

    def logits(self, out):
        return self.scale * out["scores"]


@dataclasses.dataclass(frozen=True)
class AngularGCL(GCL):
    """Angular GCL (TAI 2024): the cloud widens the angle, s * cos(theta + (pi/2) k cloud |eps| + m at the target)."""

    easy_margin: bool = True

    heads: ClassVar[tuple[str, ...]] = ("cosine",)  # a scaled cosine has no angle

    def _per_example(self, cosine, labels, noise, cloud):
        return losses.angular_gcl(
            cosine, labels, noise, cloud, scale=self.scale, margin=self.margin,
            noise_multiplier=self.noise_multiplier, easy_margin=self.easy_margin, focal_gamma=self.focal_gamma,
        )  # fmt: skip
