"""The mean over positions that ends every backbone."""

import jax
import jax.numpy as jnp


def mean_pool(x: jax.Array) -> jax.Array:
    """Map [B, H, W, D] -> features [B, D], float32 (or float64) whatever the map's dtype.

    >>> mean_pool(jnp.array([[[[1.0], [3.0]]]], jnp.bfloat16))
    Array([[2.]], dtype=float32)
    """
    return jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=(1, 2))
