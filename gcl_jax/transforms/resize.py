"""Pillow's bilinear resizing, with its filter against aliasing, as two matrix products; and `Resize`."""

import dataclasses

import jax
import jax.numpy as jnp

from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import ImageTransform
from gcl_jax.transforms.levels import whole


@dataclasses.dataclass(frozen=True)
class Resize(ImageTransform):
    """The shorter side becomes ``size`` and the other keeps the ratio (torchvision's Resize)."""

    size: int = ranged(256, "[1, 8192]")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        batch, height, width, _ = images.shape
        short = min(height, width)
        size = (self.size * height // short, self.size * width // short)
        whole_image = jnp.tile(jnp.array([0, 0, height, width], jnp.float32), (batch, 1))
        return resize_windows(images, whole_image, size)


def resize_windows(images: jax.Array, windows: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Cut ``windows`` [B, 4] (top, left, height, width; whole float32) out of images and resize them to ``size``.

    As Pillow's resize(BILINEAR) of the crop: columns first, whole levels between and after. The dtype stays.
    """
    top, left, height, width = (windows[:, i] for i in range(4))
    across = jax.vmap(_weights, (0, 0, None, None))(left, width, images.shape[2], size[1])
    down = jax.vmap(_weights, (0, 0, None, None))(top, height, images.shape[1], size[0])
    x = whole(images).astype(jnp.float32)
    x = _rounded(jnp.einsum("bow,bhwc->bhoc", across, x, precision=jax.lax.Precision.HIGHEST))
    x = _rounded(jnp.einsum("boh,bhwc->bowc", down, x, precision=jax.lax.Precision.HIGHEST))
    return x.astype(images.dtype)


def _rounded(x):
    return jnp.clip(jnp.floor(x + 0.5), 0, 255)


def _weights(start, length, before, after):
    """[after, before]: the triangle filter around each new pixel's center, of pixels of the window alone."""
    scale = length / after
    width = jnp.maximum(scale, 1)
    centers = (jnp.arange(after) + 0.5) * scale
    places = jnp.arange(before) - start
    inside = (places >= 0) & (places < length)
    triangle = jnp.maximum(1 - jnp.abs(places + 0.5 - centers[:, None]) / width, 0) * inside
    return triangle / triangle.sum(1, keepdims=True)
