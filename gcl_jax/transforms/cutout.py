"""Cutout (DeVries and Taylor 2017)."""

import dataclasses

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import ImageTransform


@dataclasses.dataclass(frozen=True)
class Cutout(ImageTransform):
    """A black square of ``size`` pixels around a center that is uniform over the pixels, clipped at the border.

    Black is level 0 before normalization, as in the published code of the systems here.
    """

    size: int = ranged(16, "[1, 8192]")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        batch, height, width, _ = images.shape
        rows = jax.random.randint(rng.fold(key, "row"), (batch, 1), 0, height)
        columns = jax.random.randint(rng.fold(key, "column"), (batch, 1), 0, width)
        half = self.size // 2
        in_rows = (jnp.arange(height) >= rows - half) & (jnp.arange(height) < rows + half)
        in_columns = (jnp.arange(width) >= columns - half) & (jnp.arange(width) < columns + half)
        hole = in_rows[:, :, None, None] & in_columns[:, None, :, None]
        return jnp.where(hole, jnp.zeros((), images.dtype), images)
