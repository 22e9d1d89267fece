"""Affine maps of one image as Pillow makes them: shear, translation, rotation."""

import jax
import jax.numpy as jnp

NEAREST, BILINEAR, BICUBIC = range(3)
TAPS = {NEAREST: 1, BILINEAR: 2, BICUBIC: 4}  # pixels an axis that a new pixel is made of


def warp(
    image: jax.Array, matrix: jax.Array, fill: jax.Array, interpolation: jax.Array | int, *, taps: int = 4
) -> jax.Array:
    """Pillow's transform(AFFINE): the new pixel (x, y) is that at (a x + b y + c, d x + e y + f) of the old image.

    ``image`` uint8 [H, W, c], ``matrix`` = (a, b, c, d, e, f) float32[6] on pixel centers at halves, ``fill`` [c] where
    there is no old pixel. ``taps`` is the most that any ``interpolation`` needs, static.

    >>> image, matrix = jnp.arange(4, dtype=jnp.uint8).reshape(1, 4, 1), jnp.array([1.0, 0, 1, 0, 1, 0])
    >>> warp(image, matrix, jnp.array([9]), NEAREST).ravel().tolist()
    [1, 2, 3, 9]
    """
    height, width, channels = image.shape
    x, y = jnp.arange(width) + 0.5, (jnp.arange(height) + 0.5)[:, None]
    at_x = matrix[0] * x + matrix[1] * y + matrix[2]
    at_y = matrix[3] * x + matrix[4] * y + matrix[5]
    inside = (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
    pixels = image.reshape(-1, channels)
    columns, rows = (_taps(at, interpolation, taps) for at in (at_x, at_y))
    total = jnp.zeros(image.shape, jnp.float32)
    for row, row_weight in rows:
        row = jnp.clip(row, 0, height - 1) * width
        line = jnp.zeros(image.shape, jnp.float32)
        for column, weight in columns:
            line += weight[..., None] * pixels[row + jnp.clip(column, 0, width - 1)]
        total += row_weight[..., None] * line
    # Pillow cuts the fraction off here; what is a whole number but for float32's rounding stays one.
    return jnp.where(inside[..., None], jnp.clip(jnp.floor(total + 1e-3), 0, 255), fill).astype(jnp.uint8)


def rotation_matrix(degrees: jax.Array, height: int, width: int) -> jax.Array:
    """`warp`'s matrix of Pillow's rotate: counter-clockwise around the center."""
    angle = -jnp.deg2rad(degrees)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = width / 2, height / 2
    return jnp.stack([cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y])


def _taps(at, interpolation, taps):
    """[(index, weight)] of the old pixels along one axis."""
    if taps == 1:
        return [(jnp.floor(at).astype(jnp.int32), jnp.ones_like(at))]
    first = jnp.floor(at - 0.5)
    d = at - 0.5 - first
    nearest = [0, d < 0.5, d >= 0.5, 0]
    linear = [0, 1 - d, d, 0]
    choices = [nearest, linear]
    if taps == 4:  # Keys' cubic with a = -1
        choices.append([-d * (1 - d) ** 2, 1 - 2 * d**2 + d**3, d * (1 + d - d**2), -(d**2) * (1 - d)])
    weights = [
        sum((interpolation == i) * jnp.asarray(choice[tap], jnp.float32) for i, choice in enumerate(choices))
        for tap in range(4)
    ]
    used = range(4) if taps == 4 else (1, 2)
    return [(first.astype(jnp.int32) + tap - 1, jnp.broadcast_to(weights[tap], at.shape)) for tap in used]
