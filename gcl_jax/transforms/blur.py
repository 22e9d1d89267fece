"""Pillow's GaussianBlur: three box blurs a direction, each rounded to whole levels."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.errors import UserError
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import ImageTransform
from gcl_jax.transforms.levels import apply_to_some, whole

PASSES = 3


@dataclasses.dataclass(frozen=True)
class Blur(ImageTransform):
    """Gaussian blur with sigma ~ U(``low``, ``high``) pixels, Pillow's ``radius``, with probability ``p``."""

    low: float = ranged(0.1, "[1e-3, 100]")
    high: float = ranged(2.0, "[1e-3, 100]")
    p: float = ranged(0.5, "[0, 1]")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise UserError(f"low is {self.low}; it must be at most high, {self.high}")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        sigmas = jax.random.uniform(rng.fold(key, "sigma"), (len(images),), minval=self.low, maxval=self.high)
        blurred = gaussian_blur(whole(images), sigmas, self.high).astype(images.dtype)
        return apply_to_some(key, self.p, blurred, images)


def gaussian_blur(images: jax.Array, sigmas: jax.Array, highest: float) -> jax.Array:
    """uint8 [B, H, W, c] blurred with ``sigmas`` float32[B], none above ``highest``; Pillow's to the bit.

    >>> gaussian_blur(jnp.full((1, 4, 4, 1), 9, jnp.uint8), jnp.array([1.5]), 1.5).max().item()
    9
    """
    radii = box_radius(sigmas)
    reach = math.floor((math.sqrt(12 * highest**2 / PASSES + 1) - 1) / 2 + 1e-6) + 1
    whole_radius = jnp.floor(radii)
    inner = (2.0**24 / (2 * radii + 1)).astype(jnp.uint32)  # weights in units of 2^-24
    outer = (2**24 - (2 * whole_radius.astype(jnp.uint32) + 1) * inner) // 2
    distance = jnp.abs(jnp.arange(-reach, reach + 1))
    at = whole_radius[:, None]
    weights = jnp.where(distance <= at, inner[:, None], jnp.where(distance == at + 1, outer[:, None], 0))
    weights = weights.astype(jnp.uint32)[:, :, None, None, None]
    for axis in (2, 1):
        for _ in range(PASSES):
            edges = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
            padded = jnp.pad(images, edges, mode="edge").astype(jnp.uint32)
            size = images.shape[axis]
            total = jnp.zeros_like(images, jnp.uint32)
            for i in range(2 * reach + 1):
                total += weights[:, i] * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
            images = ((total + 2**23) >> 24).astype(jnp.uint8)
    return images


def box_radius(sigmas: jax.Array) -> jax.Array:
    """The radius, with a fraction, of the box whose `PASSES`-fold blur has the variance sigma^2."""
    variance = sigmas**2 / PASSES
    whole_part = jnp.floor((jnp.sqrt(12 * variance + 1) - 1) / 2)
    fraction = (2 * whole_part + 1) * (whole_part * (whole_part + 1) - 3 * variance)
    return whole_part + fraction / (6 * (variance - (whole_part + 1) ** 2))
