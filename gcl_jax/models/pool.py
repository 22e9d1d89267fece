"""Pooling: the mean over positions that ends every backbone, and the maximum that follows a stem."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


def mean_pool(x: jax.Array) -> jax.Array:
    """Map [B, H, W, D] -> features [B, D], float32 (or float64) whatever the map's dtype.

    >>> mean_pool(jnp.array([[[[1.0], [3.0]]]], jnp.bfloat16))
    Array([[2.]], dtype=float32)
    """
    return jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=(1, 2))


def max_pool(x: jax.Array) -> jax.Array:
    """Maxima of 3 x 3 windows at stride 2, as torch's MaxPool2d(3, 2, 1): [B, H, W, D] -> [B, ceil(H/2), ceil(W/2), D].

    >>> max_pool(jnp.arange(9.0).reshape(1, 3, 3, 1))[0, ..., 0].tolist()
    [[4.0, 5.0], [7.0, 8.0]]
    """
    return _max_pool(x) if jax.default_backend() == "cpu" else _plain(x)


def _plain(x):
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))  # pads with -inf


# On CPU, XLA's own gradient takes three times as long as that of maxima along columns and then rows, which is the same:
# of equal pixels the first takes it all.
@jax.custom_vjp
def _max_pool(x):
    return _plain(x)


def _along(x, axis):
    pooled = -(-x.shape[axis] // 2)
    padded = jnp.pad(x, [(int(i == axis),) * 2 for i in range(x.ndim)], constant_values=-jnp.inf)
    first, second, third = (lax.slice_in_dim(padded, i, i + 2 * pooled - 1, 2, axis) for i in range(3))
    later = jnp.where(second >= third, second, third)
    return jnp.where(first >= later, first, later)


def _backward(x, cotangent):
    return jax.vjp(lambda x: _along(_along(x, 2), 1), x)[1](cotangent)


_max_pool.defvjp(lambda x: (_plain(x), x), _backward)
