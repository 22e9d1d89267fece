"""Random rotation."""

import dataclasses

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms import geometry
from gcl_jax.transforms.base import ImageTransform
from gcl_jax.transforms.levels import whole


@dataclasses.dataclass(frozen=True)
class Rotation(ImageTransform):
    """torchvision's RandomRotation: by U(-``degrees``, ``degrees``) around the center; nearest pixels, black around."""

    degrees: float = ranged(15.0, "[0, 180]")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        _, height, width, channels = images.shape
        angles = jax.random.uniform(rng.fold(key, "angle"), (len(images),), minval=-self.degrees, maxval=self.degrees)
        black = jnp.zeros(channels, jnp.uint8)

        def rotate(image, angle):
            matrix = geometry.rotation_matrix(angle, height, width)
            return geometry.warp(image, matrix, black, geometry.NEAREST, taps=1)

        return jax.vmap(rotate)(whole(images), angles).astype(images.dtype)
