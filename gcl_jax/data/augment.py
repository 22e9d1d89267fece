"""Crop, flip, jitter and normalize uint8 images inside the jitted step."""

import dataclasses

import jax
import jax.numpy as jnp

from gcl_jax import rng


@dataclasses.dataclass(frozen=True)
class Augment:
    """Zero-pad by ``crop_padding`` and crop back at random, flip, jitter colors, (x / 255 - mean) / std.

    On CIFAR (LDAM protocol): padding 4, flip, on uint8 pixels, so that the border is black before
    normalization. On photographs, which a loader crops: flip and ``color_jitter`` (brightness, contrast, saturation).
    Evaluation only normalizes. ``mean`` and ``std`` have one entry per channel.
    """

    crop_padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color_jitter: tuple[float, ...] = (0.0, 0.0, 0.0)

    def train(self, key: jax.Array, images: jax.Array, *, views: int = 1, grayscale: float = 0.0) -> jax.Array:
        """uint8 [B, H, W, c] -> float32 [B, H, W, c], or [views, B, H, W, c] when ``views`` > 1.

        A loader that crops gives [views, B, H, W, c] there.
        """
        cropped = images.ndim == 5
        many = [self._view(rng.fold(key, v), images[v] if cropped else images, grayscale) for v in range(views)]
        return many[0] if views == 1 else jnp.stack(many)

    def _view(self, key, images, grayscale):
        if self.crop_padding:
            images = random_crop(rng.fold(key, "crop"), images, self.crop_padding)
        if self.flip:
            images = random_flip(rng.fold(key, "flip"), images)
        if any(self.color_jitter):
            images = color_jitter(rng.fold(key, "jitter"), images, self.color_jitter)
        if grayscale and images.shape[-1] == 3:
            images = random_grayscale(rng.fold(key, "grayscale"), images, grayscale)
        return self.evaluate(images)

    def evaluate(self, images: jax.Array) -> jax.Array:
        """uint8 [B, H, W, c] -> normalized float32."""
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
    gray = jnp.round(_luma(images)).astype(images.dtype)
    chosen = jax.random.bernoulli(key, probability, (len(images),))
    return jnp.where(chosen[:, None, None, None], gray, images)


def _luma(images):
    return jnp.sum(images * jnp.array([0.299, 0.587, 0.114]), axis=-1, keepdims=True)


def color_jitter(key: jax.Array, images: jax.Array, strengths: tuple[float, ...]) -> jax.Array:
    """Change brightness, contrast and saturation of each RGB image at random, float32[B, H, W, 3] in 0..255.

    torchvision's ColorJitter: x <- clip(f x + (1 - f) y), f ~ U(max(0, 1 - s), 1 + s) with ``strengths`` s, where y is
    black, the mean gray of the image, or its gray image; in an order drawn for each image.

    >>> gray = jnp.full((1, 2, 2, 3), 9, jnp.uint8)
    >>> color_jitter(jax.random.key(0), gray, (0.0, 0.4, 0.4)).round(3)[0, 0, 0].tolist()
    [9.0, 9.0, 9.0]
    """
    batch = len(images)
    s = jnp.asarray(strengths, jnp.float32)
    low = jnp.maximum(1 - s, 0)
    factors = low + (1 + s - low) * jax.random.uniform(rng.fold(key, "factors"), (batch, 3))
    order = jax.vmap(lambda key: jax.random.permutation(key, 3))(jax.random.split(rng.fold(key, "order"), batch))
    x = images.astype(jnp.float32)
    for place in range(3):
        kind = order[:, place, None, None, None]
        gray = _luma(x)
        mean = jnp.round(gray.mean(axis=(1, 2), keepdims=True))  # Pillow's is a whole level
        other = jnp.where(kind == 0, 0.0, jnp.where(kind == 1, mean, gray))
        f = jnp.take_along_axis(factors, order[:, place : place + 1], axis=1)[:, :, None, None]
        x = jnp.clip(f * x + (1 - f) * other, 0, 255)
    return x
