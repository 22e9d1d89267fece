"""Random resized crop (Inception's) on the device."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.errors import UserError
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import ImageTransform
from gcl_jax.transforms.resize import resize_windows

TRIES = 10
RATIO = (3 / 4, 4 / 3)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(ImageTransform):
    """torchvision's RandomResizedCrop: a window of ``low`` to ``high`` of the area, resized to ``size`` x ``size``.

    Photographs are cropped so by their loader already; this one is for images that come whole.
    """

    size: int = ranged(224, "[1, 8192]")
    low: float = ranged(0.08, "[1e-3, 1]")
    high: float = ranged(1.0, "[1e-3, 1]")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise UserError(f"low is {self.low}; it must be at most high, {self.high}")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        batch, height, width, _ = images.shape
        windows = random_windows(key, batch, height, width, (self.low, self.high))
        return resize_windows(images, windows, (self.size, self.size))


def random_windows(key: jax.Array, batch: int, height: int, width: int, scale: tuple[float, float]) -> jax.Array:
    """(top, left, height, width) of a window an image, whole numbers as float32[B, 4].

    The first of `TRIES` windows (area ~ U(``scale``) of the image's, log ratio uniform over `RATIO`) that lies in the
    image; else the middle of the image, of the nearest ratio.
    """
    shape = (batch, TRIES)
    area = height * width * jax.random.uniform(rng.fold(key, "area"), shape, minval=scale[0], maxval=scale[1])
    log_ratio = jax.random.uniform(rng.fold(key, "ratio"), shape, minval=math.log(RATIO[0]), maxval=math.log(RATIO[1]))
    widths, heights = jnp.round(jnp.sqrt(area * jnp.exp(log_ratio))), jnp.round(jnp.sqrt(area / jnp.exp(log_ratio)))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first, any_fits = jnp.argmax(fits, 1)[:, None], fits.any(1)
    middle_height = min(height, round(width / RATIO[0])) if width / height < RATIO[0] else height
    middle_width = min(width, round(height * RATIO[1])) if width / height > RATIO[1] else width
    h = jnp.where(any_fits, jnp.take_along_axis(heights, first, 1)[:, 0], middle_height)
    w = jnp.where(any_fits, jnp.take_along_axis(widths, first, 1)[:, 0], middle_width)
    place = jax.random.uniform(rng.fold(key, "place"), (batch, 2))
    top = jnp.where(any_fits, jnp.floor(place[:, 0] * (height - h + 1)), (height - middle_height) // 2)
    left = jnp.where(any_fits, jnp.floor(place[:, 1] * (width - w + 1)), (width - middle_width) // 2)
    # A draw next to 1 rounds up in float32.
    return jnp.stack([jnp.minimum(top, height - h), jnp.minimum(left, width - w), h, w], 1)
