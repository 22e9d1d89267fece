"""The ops of AutoAugment and RandAugment on whole levels, as Pillow and ImageOps make them: one an image.

Each is a kind and a value; what they have in common is computed by one of five programs, so that an image costs one
of them on CPU, and a batch all five, in one go, on accelerators.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gcl_jax.runtime import backend
from gcl_jax.transforms import geometry
from gcl_jax.transforms.levels import gray, require_colors

# The value of each: a coefficient of `geometry.warp`; a part of the side; degrees; bits that are kept; a threshold;
# what is added; the factor of an enhancement, which 1 leaves as it is.
KINDS = (
    "identity",
    "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
    "invert", "posterize", "solarize", "solarize_add",
    "brightness", "contrast", "color", "sharpness",
    "autocontrast", "equalize",
)  # fmt: skip
(
    IDENTITY, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, ROTATE, INVERT, POSTERIZE, SOLARIZE, SOLARIZE_ADD,
    BRIGHTNESS, CONTRAST, COLOR, SHARPNESS, AUTOCONTRAST, EQUALIZE,
) = range(len(KINDS))  # fmt: skip
PROGRAM = (0,) + (1,) * 5 + (2,) * 4 + (3,) * 4 + (4,) * 2  # of each kind: identity, warp, tone, enhance, histogram


def apply_ops(
    images: jax.Array, kinds: jax.Array, values: jax.Array, interpolations: jax.Array, *, fill: int | tuple, taps: int
) -> jax.Array:
    """uint8 [B, H, W, c] with the op ``kinds`` int32[B] (see `KINDS`) of ``values`` float32[B] done to each image.

    ``interpolations`` int32[B] of warps, whose ``fill`` is one level or one a channel; ``taps`` as in `geometry.warp`.
    """
    require_colors(images)
    channels = images.shape[-1]
    if channels == 1 and isinstance(fill, tuple):
        fill = round(sum(fill) / len(fill))
    outside = jnp.broadcast_to(jnp.asarray(fill, jnp.uint8), (channels,))
    programs = [
        lambda image, kind, value, interpolation: image,
        lambda image, kind, value, interpolation: _warp(image, kind, value, interpolation, outside, taps),
        lambda image, kind, value, interpolation: _tone(image, kind, value),
        lambda image, kind, value, interpolation: _enhance(image, kind, value),
        lambda image, kind, value, interpolation: _histogram(image, kind),
    ]

    def one(rows):
        program, *rest = rows
        return jax.lax.switch(program, programs, *rest)

    rows = (jnp.asarray(PROGRAM)[kinds], images, kinds, values, interpolations)
    return jax.lax.map(one, rows) if backend.is_cpu() else jax.vmap(one)(rows)


def _warp(image, kind, value, interpolation, fill, taps):
    height, width, _ = image.shape
    maps: list[Any] = [
        [1, value, 0, 0, 1, 0],
        [1, 0, 0, value, 1, 0],
        [1, 0, value * width, 0, 1, 0],
        [1, 0, 0, 0, 1, value * height],
        geometry.rotation_matrix(value, height, width),
    ]
    matrix = jnp.stack([jnp.stack([jnp.asarray(x, jnp.float32) for x in row]) for row in maps])[kind - SHEAR_X]
    return geometry.warp(image, matrix, fill, interpolation, taps=taps)


def _tone(image, kind, value):
    x = image.astype(jnp.int32)
    kept = 256 - (1 << (8 - value.astype(jnp.int32)))
    added = jnp.where(x < 128, jnp.minimum(x + value.astype(jnp.int32), 255), x)
    solarized = jnp.where(x < value, x, 255 - x)
    choices = [255 - x, x & kept, solarized, added]
    return jax.lax.select_n(kind - INVERT, *choices).astype(jnp.uint8)


def _enhance(image, kind, value):
    x, level = image.astype(jnp.float32), gray(image)
    mean = jnp.floor(level.sum() / level.size + 0.5)  # exact: float32 holds the mean to 2^-16 of a level
    choices = [jnp.zeros_like(x), jnp.full_like(x, mean), jnp.broadcast_to(level, x.shape).astype(x.dtype), _smooth(x)]
    other = jax.lax.select_n(kind - BRIGHTNESS, *choices)
    blended = other + value * (x - other)
    return jnp.clip(jnp.floor(blended), 0, 255).astype(jnp.uint8)  # Pillow's blend cuts the fraction off


def _smooth(x):
    """Pillow's SMOOTH: the mean of 3 x 3 pixels, the middle one five times; the border stays."""
    height, width, _ = x.shape
    if min(height, width) < 3:
        return x
    parts = [x[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)]
    inner = jnp.floor((sum(parts) + 4 * parts[4]) / 13 + 0.5)
    return x.at[1:-1, 1:-1].set(inner)


def _histogram(image, kind):
    """ImageOps' autocontrast and equalize: a table of levels for each channel."""
    height, width, channels = image.shape
    at = image.astype(jnp.int32) + 256 * jnp.arange(channels)
    counts = jnp.zeros(256 * channels, jnp.int32).at[at.ravel()].add(1).reshape(channels, 256)
    levels = jnp.arange(256)
    there = counts > 0
    low, high = jnp.argmax(there, 1), 255 - jnp.argmax(there[:, ::-1], 1)
    spread = (high - low)[:, None]
    stretched = 255 * (levels - low[:, None]) // jnp.maximum(spread, 1)
    stretched = jnp.where(spread > 0, stretched, levels)
    step = (height * width - jnp.take_along_axis(counts, high[:, None], 1)) // 255
    before = jnp.cumsum(counts, 1) - counts
    equalized = jnp.where(step > 0, (step // 2 + before) // jnp.maximum(step, 1), levels)
    table = jnp.clip(jnp.where(kind == AUTOCONTRAST, stretched, equalized), 0, 255).astype(jnp.uint8)
    return table.ravel()[at]
