"""Unit vectors and dot products, for cosine classifiers and all that compares features."""

import jax
import jax.numpy as jnp

from gcl_jax.arrays import AnyArray


def normalize(x: jax.Array, axis: int) -> jax.Array:
    """x / max(||x||_2, 1e-12) along ``axis`` (torch's F.normalize), with a finite gradient at 0.

    >>> normalize(jnp.array([[3.0, 4.0]]), axis=1).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    # 1e-24, the square of torch's 1e-12, is still a normal float32.
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x), axis, keepdims=True), 1e-24))


def dot(a: AnyArray, b: AnyArray) -> jax.Array:
    """a b in float32, whatever ``config.precision`` lets convolutions do.

    >>> dot(jnp.ones((1, 2)), jnp.ones((2, 1))).tolist()
    [[2.0]]
    """
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
