"""A shift of the hue as Pillow and torchvision make it: through 8-bit HSV."""

import jax
import jax.numpy as jnp


def shift_hue(images: jax.Array, shifts: jax.Array) -> jax.Array:
    """Shift the hue of RGB images [B, H, W, 3] in 0..255 by ``shifts`` float32[B] of its circle -> whole levels.

    Gray images stay as they are.

    >>> shift_hue(jnp.array([[[[255.0, 0, 0]]]]), jnp.array([1 / 3]))[0, 0, 0].tolist()
    [0.0, 255.0, 0.0]
    """
    if images.shape[-1] == 1:
        return images
    hue, saturation, value = _to_hsv(jnp.round(images))
    steps = jnp.trunc(shifts * 255)[:, None, None]  # torchvision's, a whole number of 256ths
    return _to_rgb(jnp.mod(hue + steps, 256), saturation, value)


def _to_hsv(rgb):
    red, green, blue = (rgb[..., i] for i in range(3))
    value, least = rgb.max(-1), rgb.min(-1)
    spread = value - least
    safe = jnp.where(spread == 0, 1, spread)
    r, g, b = ((value - channel) / safe for channel in (red, green, blue))
    hue = jnp.where(red == value, b - g, jnp.where(green == value, 2 + r - b, 4 + g - r))
    hue = jnp.floor(jnp.mod(hue / 6 + 1, 1) * 255)
    saturation = jnp.floor(255 * spread / jnp.maximum(value, 1))
    return jnp.where(spread == 0, 0, hue), saturation, value


def _to_rgb(hue, saturation, value):
    sector, fraction = jnp.divmod(hue * 6 / 255, 1)
    s = saturation / 255
    p = jnp.floor(value * (1 - s) + 0.5)
    q = jnp.floor(value * (1 - s * fraction) + 0.5)
    t = jnp.floor(value * (1 - s * (1 - fraction)) + 0.5)
    sector = jnp.mod(sector, 6).astype(jnp.int32)
    corners = [(value, t, p), (q, value, p), (p, value, t), (p, q, value), (t, p, value), (value, p, q)]
    return jnp.stack([jax.lax.select_n(sector, *[c[i] for c in corners]) for i in range(3)], -1)
