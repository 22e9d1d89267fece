"""AutoAugment (Cubuk et al. 2019): the policies that were found on CIFAR-10 and on ImageNet."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gcl_jax import rng
from gcl_jax.errors import require_one_of
from gcl_jax.methods.base import StepInfo
from gcl_jax.transforms import geometry, one_op
from gcl_jax.transforms.base import ImageTransform
from gcl_jax.transforms.levels import whole

_CIFAR10 = """
    invert .1 7 contrast .2 6        rotate .7 2 translate_x .3 9     sharpness .8 1 sharpness .9 3
    shear_y .5 8 translate_y .7 9    autocontrast .5 8 equalize .9 2  shear_y .2 7 posterize .3 7
    color .4 3 brightness .6 7       sharpness .3 9 brightness .7 9   equalize .6 5 equalize .5 1
    contrast .6 7 sharpness .6 5     color .7 7 translate_x .5 8      equalize .3 7 autocontrast .4 8
    translate_y .4 3 sharpness .2 6  brightness .9 6 color .2 8       solarize .5 2 invert 0 3
    equalize .2 0 autocontrast .6 0  equalize .2 8 equalize .6 4      color .9 9 equalize .6 6
    autocontrast .8 4 solarize .2 8  brightness .1 3 color .7 0       solarize .4 5 autocontrast .9 3
    translate_y .9 9 translate_y .7 9  autocontrast .9 2 solarize .8 3  equalize .8 8 invert .1 3
    translate_y .7 9 autocontrast .9 1
"""
_IMAGENET = """
    posterize .4 8 rotate .6 9     solarize .6 5 autocontrast .6 0  equalize .8 0 equalize .6 0
    posterize .6 7 posterize .6 6  equalize .4 0 solarize .2 4      equalize .4 0 rotate .8 8
    solarize .6 3 equalize .6 0    posterize .8 5 equalize 1 0      rotate .2 3 solarize .6 8
    equalize .6 0 posterize .4 6   rotate .8 8 color .4 0           rotate .4 9 equalize .6 0
    equalize 0 0 equalize .8 0     invert .6 0 equalize 1 0         color .6 4 contrast 1 8
    rotate .8 8 color 1 2          color .8 8 solarize .8 7         sharpness .4 7 invert .6 0
    shear_x .6 5 equalize 1 0      color .4 0 equalize .6 0         equalize .4 0 solarize .2 4
    solarize .6 5 autocontrast .6 0  invert .6 0 equalize 1 0       color .6 4 contrast 1 8
    equalize .8 0 equalize .6 0
"""


def _parsed(text):
    """(op, probability, level) of both ops of each sub-policy: names [25, 2], float64 [25, 2], int [25, 2]."""
    words = np.array(text.split()).reshape(-1, 2, 3)
    return words[..., 0], words[..., 1].astype(float), words[..., 2].astype(int)


POLICIES = {"cifar10": _parsed(_CIFAR10), "imagenet": _parsed(_IMAGENET)}

# The least and greatest value of ten levels. Of what has a random sign the value is 0 or, of an enhancement, 1, plus or
# minus this; rotations have none, as in the code that the systems here share.
RANGES = {
    "shear_x": (0, 0.3),
    "shear_y": (0, 0.3),
    "translate_x": (0, 150 / 331),
    "translate_y": (0, 150 / 331),
    "rotate": (0, 30),
    "color": (0, 0.9),
    "contrast": (0, 0.9),
    "sharpness": (0, 0.9),
    "brightness": (0, 0.9),
    "posterize": (8, 4),
    "solarize": (256, 0),
}
SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "color", "contrast", "sharpness", "brightness")
ENHANCE = ("color", "contrast", "sharpness", "brightness")
FILL = 128


@dataclasses.dataclass(frozen=True)
class AutoAugment(ImageTransform):
    """One of 25 sub-policies an image, uniformly; each of its two ops with its probability.

    Values and fill (gray 128) are those of the code that CIFAR systems share, for the ImageNet policy too: shears are
    bicubic, translations and rotations nearest.
    """

    policy: str = "cifar10"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("policy", self.policy, POLICIES)

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        names, probabilities, levels = POLICIES[self.policy]
        kinds, values, signed = policy_tables(names, levels)
        batch = len(images)
        chosen = jax.random.randint(rng.fold(key, "policy"), (batch,), 0, len(names))
        probability_draws = jax.random.uniform(rng.fold(key, "apply"), (batch, 2))
        applied = probability_draws < jnp.asarray(probabilities, jnp.float32)[chosen]
        signs = jnp.where(jax.random.bernoulli(rng.fold(key, "sign"), 0.5, (batch, 2)), 1.0, -1.0)
        base = np.isin(names, ENHANCE).astype(np.float32)
        taps = geometry.TAPS[geometry.BICUBIC if np.isin(names, ("shear_x", "shear_y")).any() else geometry.NEAREST]
        x = whole(images)
        for place in range(2):
            kind = jnp.where(applied[:, place], jnp.asarray(kinds)[chosen, place], one_op.IDENTITY)
            sign = jnp.where(jnp.asarray(signed)[chosen, place], signs[:, place], 1.0)
            value = jnp.asarray(base)[chosen, place] + sign * jnp.asarray(values)[chosen, place]
            shears = (kind == one_op.SHEAR_X) | (kind == one_op.SHEAR_Y)
            interpolation = jnp.where(shears, geometry.BICUBIC, geometry.NEAREST)
            x = one_op.apply_ops(x, kind, value, interpolation, fill=FILL, taps=taps)
        return x.astype(images.dtype)


def policy_tables(names: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of ops and their levels, [25, 2] each: kinds int32, values float32 without sign, and which have a random sign."""
    kinds = np.vectorize(one_op.KINDS.index)(names).astype(np.int32)
    values = np.zeros(names.shape, np.float32)
    for name, (least, most) in RANGES.items():
        table = np.linspace(least, most, 10)
        table = np.round(table) if name == "posterize" else table
        values = np.where(names == name, table[levels], values).astype(np.float32)
    return kinds, values, np.isin(names, SIGNED)
