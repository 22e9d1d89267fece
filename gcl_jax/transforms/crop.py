"""Random crop of the zero-padded image, and the center crop."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from gcl_jax.errors import UserError
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import ImageTransform


@dataclasses.dataclass(frozen=True)
class Crop(ImageTransform):
    """Zero-pad each side and cut out the old size at a random place (torchvision's RandomCrop with padding)."""

    padding: int = ranged(4, "[1, 256]")

    key_name: ClassVar[str] = "crop"

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        return random_crop(key, images, self.padding)


@dataclasses.dataclass(frozen=True)
class CenterCrop(ImageTransform):
    """The middle ``size`` x ``size`` pixels; UserError for a smaller image."""

    size: int = ranged(224, "[1, 8192]")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        height, width = images.shape[1:3]
        if min(height, width) < self.size:
            raise UserError(f"center_crop({self.size}) needs larger images than {height} x {width}: resize them before")
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        return images[:, top : top + self.size, left : left + self.size]


def random_crop(key: jax.Array, images: jax.Array, padding: int) -> jax.Array:
    """Zero-pad each side by ``padding`` and cut out the old size at a random place, per image.

    >>> random_crop(jax.random.key(0), jnp.ones((2, 8, 8, 1), jnp.uint8), 1).shape
    (2, 8, 8, 1)
    """
    batch, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    offsets = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)

    def cut(image, offset):
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), (height, width, channels))

    return jax.vmap(cut)(padded, offsets)
