"""Color jitter and random grayscale."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import ImageTransform
from gcl_jax.transforms.hue import shift_hue
from gcl_jax.transforms.levels import apply_to_some, require_colors

HUE = 3  # behind brightness, contrast and saturation


@dataclasses.dataclass(frozen=True)
class ColorJitter(ImageTransform):
    """torchvision's ColorJitter, for each image with probability ``p``; float32 that are not rounded come out."""

    brightness: float = ranged(0.4, "[0, 100]")
    contrast: float = ranged(0.4, "[0, 100]")
    saturation: float = ranged(0.4, "[0, 100]")
    hue: float = ranged(0.0, "[0, 0.5]")
    p: float = ranged(1.0, "[0, 1]")

    key_name: ClassVar[str] = "jitter"

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        strengths = (self.brightness, self.contrast, self.saturation)
        return apply_to_some(key, self.p, color_jitter(key, images, strengths, self.hue), images)


@dataclasses.dataclass(frozen=True)
class Grayscale(ImageTransform):
    """Turn an RGB image gray with probability ``p``; images of another number of channels stay as they are."""

    p: float = ranged(0.2, "[0, 1]")

    key_name: ClassVar[str] = "grayscale"

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        return random_grayscale(key, images, self.p) if images.shape[-1] == 3 else images


def random_grayscale(key: jax.Array, images: jax.Array, probability: float) -> jax.Array:
    """Turn each RGB image gray with ``probability``: 0.299 R + 0.587 G + 0.114 B (ITU-R 601) in all three channels.

    >>> random_grayscale(jax.random.key(0), jnp.full((1, 1, 1, 3), 9, jnp.uint8), 1.0).tolist()
    [[[[9, 9, 9]]]]
    """
    gray = jnp.round(_luma(images)).astype(images.dtype)
    chosen = jax.random.bernoulli(key, probability, (len(images),))
    return jnp.where(chosen[:, None, None, None], gray, images)


def _luma(images):
    return jnp.sum(images * jnp.array([0.299, 0.587, 0.114]), axis=-1, keepdims=True)


def color_jitter(key: jax.Array, images: jax.Array, strengths: tuple[float, ...], hue: float = 0.0) -> jax.Array:
    """Change brightness, contrast, saturation and hue of each RGB or gray image at random, float32[B, H, W, c].

    torchvision's ColorJitter: x <- clip(f x + (1 - f) y), f ~ U(max(0, 1 - s), 1 + s) with ``strengths`` s, where y is
    black, the mean gray of the image, or its gray image; and a shift of the hue by U(-``hue``, ``hue``) of its circle;
    in an order drawn for each image.

    >>> gray = jnp.full((1, 2, 2, 3), 9, jnp.uint8)
    >>> color_jitter(jax.random.key(0), gray, (0.0, 0.4, 0.4)).round(3)[0, 0, 0].tolist()
    [9.0, 9.0, 9.0]
    """
    require_colors(images)
    batch, kinds = len(images), 4 if hue else 3
    s = jnp.asarray(strengths, jnp.float32)
    low = jnp.maximum(1 - s, 0)
    factors = low + (1 + s - low) * jax.random.uniform(rng.fold(key, "factors"), (batch, 3))
    order = jax.vmap(lambda key: jax.random.permutation(key, kinds))(jax.random.split(rng.fold(key, "order"), batch))
    x = images.astype(jnp.float32)
    if not hue:
        for place in range(3):
            x = _enhance(x, order[:, place], factors)
        return x
    # Hue once for all images, after what each has before it and before the rest.
    shifts = jax.random.uniform(rng.fold(key, "hue"), (batch,), minval=-hue, maxval=hue)
    hue_at = jnp.argmax(order == HUE, 1)
    for after in (False, True):
        for place in range(4):
            now = (order[:, place] != HUE) & ((place > hue_at) == after)
            x = jnp.where(now[:, None, None, None], _enhance(x, order[:, place], factors), x)
        x = x if after else shift_hue(x, shifts)
    return x


def _enhance(x, kinds, factors):
    """Blend each image with black, its mean gray or its gray image, by ``kinds`` int[B] and ``factors`` [B, 3]."""
    kind = kinds[:, None, None, None]
    gray = x if x.shape[-1] == 1 else _luma(x)
    mean = jnp.round(gray.mean(axis=(1, 2), keepdims=True))  # Pillow's is a whole level
    other = jnp.where(kind == 0, 0.0, jnp.where(kind == 1, mean, gray))
    f = jnp.take_along_axis(factors, jnp.minimum(kinds[:, None], 2), axis=1)[:, :, None, None]
    return jnp.clip(f * x + (1 - f) * other, 0, 255)
