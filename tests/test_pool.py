"""The maximum after a stem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gcl_jax.models import pool


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 7, 5, 2), (2, 1, 2, 1)])
def test_the_gradient_on_cpu_is_xlas_own_with_ties(shape):
    """Few levels, so that most windows hold their maximum more than once, and the first takes the gradient."""
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.integers(0, 3, shape), jnp.float32)
    y, pull = jax.vjp(pool._max_pool, x)
    theirs, their_pull = jax.vjp(pool._plain, x)
    np.testing.assert_array_equal(y, theirs)
    cotangent = jnp.asarray(generator.integers(1, 9, y.shape), jnp.float32)
    np.testing.assert_array_equal(pull(cotangent)[0], their_pull(cotangent)[0])
