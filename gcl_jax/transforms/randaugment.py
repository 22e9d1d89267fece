"""RandAugment (Cubuk et al. 2020) as torchvision has it, and as timm has it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gcl_jax import rng
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms import geometry, one_op
from gcl_jax.transforms.base import ImageTransform
from gcl_jax.transforms.levels import whole

OPS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize",
)  # fmt: skip
BINS = 31
TIMM_OPS = (
    "autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "solarize_add", "color", "contrast",
    "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
TIMM_FILL = (124, 116, 104)  # ImageNet's mean, for every data set


@dataclasses.dataclass(frozen=True)
class RandAugment(ImageTransform):
    """torchvision's: ``ops`` of 14 ops with replacement, at ``magnitude`` of 0..30; nearest pixels, black outside."""

    ops: int = ranged(2, "[1, 20]")
    magnitude: int = ranged(9, "[0, 30]")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        batch, height, width, _ = images.shape
        kinds = jnp.asarray([one_op.KINDS.index(name) for name in OPS])
        values, signed = torchvision_values(self.magnitude, height, width)
        x = whole(images)
        for place in range(self.ops):
            chosen = jax.random.randint(rng.fold(key, "op", place), (batch,), 0, len(OPS))
            negative = jax.random.bernoulli(rng.fold(key, "sign", place), 0.5, (batch,))
            value = jnp.asarray(values)[chosen, (negative & jnp.asarray(signed)[chosen]).astype(jnp.int32)]
            nearest = jnp.full((batch,), geometry.NEAREST)
            x = one_op.apply_ops(x, kinds[chosen], value, nearest, fill=0, taps=1)
        return x.astype(images.dtype)


def torchvision_values(magnitude: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(values float32[14, 2] of `OPS` with positive and negative sign, bool[14] which have a random sign)."""
    part = magnitude / (BINS - 1)
    amounts = {
        "shear_x": 0.3 * part,
        "shear_y": 0.3 * part,
        "translate_x": -int(150 / 331 * width * part) / width,  # whole pixels; torchvision moves the other way
        "translate_y": -int(150 / 331 * height * part) / height,
        "rotate": 30 * part,
        **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), 0.9 * part),
    }
    base = np.isin(OPS, ("brightness", "color", "contrast", "sharpness")).astype(float)
    signed = np.array([amounts.get(name, 0.0) for name in OPS])
    unsigned = {"posterize": 8 - round(magnitude / ((BINS - 1) / 4)), "solarize": 255 - 255 * part}
    fixed = np.array([unsigned.get(name, 0.0) for name in OPS])
    values = np.stack([base + signed + fixed, base - signed + fixed], 1).astype(np.float32)
    return values, np.isin(OPS, list(amounts))


@dataclasses.dataclass(frozen=True)
class TimmRandAugment(ImageTransform):
    """timm's rand-nOPS-mMAGNITUDE-mstdSTD: ``ops`` of 15 ops with replacement, each applied with probability ``p``.

    Its level is drawn from N(``magnitude``, ``std``) and clipped to [0, 10]. Warps are bilinear or bicubic, by a coin;
    outside is ImageNet's mean.
    """

    ops: int = ranged(2, "[1, 20]")
    magnitude: float = ranged(10.0, "[0, 10]")
    std: float = ranged(0.5, "[0, 10]")
    p: float = ranged(0.5, "[0, 1]")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        batch = len(images)
        kinds = jnp.asarray([one_op.KINDS.index(name) for name in TIMM_OPS])
        x = whole(images)
        for place in range(self.ops):
            chosen = jax.random.randint(rng.fold(key, "op", place), (batch,), 0, len(TIMM_OPS))
            applied = jax.random.uniform(rng.fold(key, "apply", place), (batch,)) < self.p
            level = self.magnitude + self.std * jax.random.normal(rng.fold(key, "level", place), (batch,))
            sign = jnp.where(jax.random.bernoulli(rng.fold(key, "sign", place), 0.5, (batch,)), 1.0, -1.0)
            cubic = jax.random.bernoulli(rng.fold(key, "interpolation", place), 0.5, (batch,))
            value = jax.lax.select_n(chosen, *timm_values(jnp.clip(level, 0, 10) / 10, sign))
            kind = jnp.where(applied, kinds[chosen], one_op.IDENTITY)
            interpolation = jnp.where(cubic, geometry.BICUBIC, geometry.BILINEAR)
            x = one_op.apply_ops(x, kind, value, interpolation, fill=TIMM_FILL, taps=4)
        return x.astype(images.dtype)


def timm_values(part: jax.Array, sign: jax.Array) -> list[jax.Array]:
    """Values [B] of each of `TIMM_OPS` at ``part`` = level / 10 in [0, 1], with ``sign`` -1 or 1 where there is one."""
    signed = {"rotate": 30.0, "shear_x": 0.3, "shear_y": 0.3, "translate_x": 0.45, "translate_y": 0.45}
    values = {name: sign * part * most for name, most in signed.items()}
    values |= {
        "posterize": jnp.floor(4 * part),
        "solarize": jnp.floor(256 * part),
        "solarize_add": jnp.floor(110 * part),
        **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), 0.1 + 1.8 * part),
    }
    return [values.get(name, jnp.zeros_like(part)) for name in TIMM_OPS]
