"""The convolution of all networks: one formula, whichever program computes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gcl_jax.models import conv


def by_hand(x, kernel, stride):
    """Torch's Conv2d of padding size // 2, window by window."""
    size, pad = len(kernel), len(kernel) // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = (-(-n // stride) for n in x.shape[1:3])
    out = np.empty((len(x), height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            window = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, i, j] = np.tensordot(window, kernel, 3)
    return out


@pytest.mark.parametrize("program", [conv._plain, conv._barred, conv._windows])
@pytest.mark.parametrize(
    ("height", "width", "size", "stride"),
    [(2, 2, 3, 1), (1, 1, 3, 1), (4, 4, 3, 2), (5, 3, 3, 2), (1, 4, 3, 1), (6, 5, 3, 1), (7, 9, 7, 2), (3, 2, 1, 2)],
)
def test_every_program_is_the_convolution_and_its_gradients(program, height, width, size, stride):
    generator = np.random.default_rng(0)
    x, kernel = generator.normal(size=(2, height, width, 3)), generator.normal(size=(size, size, 3, 4))
    direction = generator.normal(size=by_hand(x, kernel, stride).shape)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        y, pull = jax.vjp(lambda *a: program(stride, 1, *a), jnp.asarray(x), jnp.asarray(kernel))
        to_x, to_kernel = map(np.asarray, pull(jnp.asarray(direction)))
    np.testing.assert_allclose(y, by_hand(x, kernel, stride), rtol=1e-12, atol=1e-12)
    # The map is linear in either argument: the gradient along v is the map of v.
    step = generator.normal(size=x.shape)
    np.testing.assert_allclose((to_x * step).sum(), (direction * by_hand(step, kernel, stride)).sum(), rtol=1e-10)
    step = generator.normal(size=kernel.shape)
    np.testing.assert_allclose((to_kernel * step).sum(), (direction * by_hand(x, step, stride)).sum(), rtol=1e-10)


@pytest.mark.parametrize(
    ("backend", "stride", "groups", "size", "edge", "program"),
    [
        ("cpu", 1, 1, 3, 2, conv._windows),
        ("cpu", 2, 1, 3, 4, conv._windows),
        ("cpu", 1, 1, 3, 3, conv._barred),
        ("cpu", 2, 1, 3, 5, conv._barred),
        ("cpu", 1, 32, 3, 2, conv._barred),
        ("cpu", 1, 1, 1, 1, conv._barred),
        ("gpu", 1, 1, 3, 2, conv._plain),
    ],
)
def test_which_program_a_backend_gets(backend, stride, groups, size, edge, program):
    assert conv._chosen(backend, stride, groups, size, (1, edge, 9, 8)) is program
