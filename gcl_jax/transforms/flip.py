"""Random horizontal flip."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import ImageTransform


@dataclasses.dataclass(frozen=True)
class Flip(ImageTransform):
    """Mirror an image left to right with probability ``p``."""

    p: float = ranged(0.5, "[0, 1]")

    key_name: ClassVar[str] = "flip"

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        return random_flip(key, images, self.p)


def random_flip(key: jax.Array, images: jax.Array, probability: float = 0.5) -> jax.Array:
    """Mirror each image left to right with ``probability``.

    >>> random_flip(jax.random.key(0), jnp.ones((2, 8, 8, 1), jnp.uint8)).dtype
    dtype('uint8')
    """
    mirrored = jax.random.bernoulli(key, probability, (len(images),))
    return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
