"""What several ops share: whole levels, gray levels, and the draw of the images that an op is applied to."""

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.errors import UserError


def whole(images: jax.Array) -> jax.Array:
    """Levels in 0..255 as uint8; float32 are rounded."""
    return images if images.dtype == jnp.uint8 else jnp.clip(jnp.round(images), 0, 255).astype(jnp.uint8)


def gray(images: jax.Array) -> jax.Array:
    """Pillow's gray levels (ITU-R 601 in fixed point) of RGB or gray images, int32[..., 1].

    >>> gray(jnp.array([[255, 0, 0]], jnp.uint8)).tolist()
    [[76]]
    """
    if images.shape[-1] == 1:
        return images.astype(jnp.int32)
    require_colors(images)
    weighted = images.astype(jnp.int32) * jnp.array([19595, 38470, 7471])
    return (weighted.sum(-1, keepdims=True) + 0x8000) >> 16


def require_colors(images: jax.Array) -> None:
    """Raise UserError unless images are RGB or gray."""
    if images.shape[-1] not in (1, 3):
        raise UserError(f"images have {images.shape[-1]} channels; ops that change colors take 1 or 3")


def apply_to_some(key: jax.Array, probability: float, changed: jax.Array, images: jax.Array) -> jax.Array:
    """``changed`` for each image with ``probability``, else the image as it was; 1 is static and draws nothing."""
    if probability == 1:
        return changed
    chosen = jax.random.bernoulli(rng.fold(key, "apply"), probability, (len(images),))
    return jnp.where(chosen[:, None, None, None], changed, images)
