"""Crop, flip and normalise uint8 images inside the jitted step."""

import dataclasses

import jax
import jax.numpy as jnp

from gcl_jax import rng


@dataclasses.dataclass(frozen=True)
class Augment:
    """CIFAR's augmentation: zero-pad by ``crop_padding`` and crop back at random, flip, (x / 255 - mean) / std.

    LDAM protocol: padding 4, flip, on uint8 pixels, so that the border is black before
    normalisation. Evaluation only normalises. ``mean`` and ``std`` have one entry per channel.
    """

    crop_padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def train(self, key: jax.Array, images: jax.Array, *, views: int = 1, grayscale: float = 0.0) -> jax.Array:
        """uint8 [B, H, W, c] -> float32 [B, H, W, c], or [views, B, H, W, c] when ``views`` > 1."""
        many = [self._view(rng.fold(key, view), images, grayscale) for view in range(views)]
        return many[0] if views == 1 else jnp.stack(many)

    def _view(self, key, images, grayscale):
        if self.crop_padding:
            images = random_crop(rng.fold(key, "crop"), images, self.crop_padding)
        if self.flip:
            images = random_flip(rng.fold(key, "flip"), images)
        if grayscale and images.shape[-1] == 3:
            images = random_grayscale(rng.fold(key, "grayscale"), images, grayscale)
        return self.evaluate(images)

    def evaluate(self, images: jax.Array) -> jax.Array:
        """uint8 [B, H, W, c] -> normalised float32."""
        mean, std = (jnp.asarray(v, jnp.float32) for v in (self.mean, self.std))
        return (images.astype(jnp.float32) / 255 - mean) / std


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


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirror each image left to right with probability 1/2.

    >>> random_flip(jax.random.key(0), jnp.ones((2, 8, 8, 1), jnp.uint8)).dtype
    dtype('uint8')
    """
    mirrored = jax.random.bernoulli(key, 0.5, (len(images),))
    return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def random_grayscale(key: jax.Array, images: jax.Array, probability: float) -> jax.Array:
    """Turn each RGB image gray with ``probability``: 0.299 R + 0.587 G + 0.114 B (ITU-R 601) in all three channels.

    >>> random_grayscale(jax.random.key(0), jnp.full((1, 1, 1, 3), 9, jnp.uint8), 1.0).tolist()
    [[[[9, 9, 9]]]]
    """
    weights = jnp.array([0.299, 0.587, 0.114])
    gray = jnp.round(jnp.sum(images * weights, axis=-1, keepdims=True)).astype(images.dtype)
    chosen = jax.random.bernoulli(key, probability, (len(images),))
    return jnp.where(chosen[:, None, None, None], gray, images)
