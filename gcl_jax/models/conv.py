"""3 x 3 convolution as torch pads it, with a backward pass that suits the backend."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class Conv3x3(nn.Module):
    """3 x 3 convolution without bias: Kaiming-normal kernel, torch's symmetric padding (SAME differs at stride 2)."""

    filters: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (3, 3, x.shape[-1], self.filters)
        kernel = self.param("kernel", nn.initializers.kaiming_normal(), shape, jnp.float32)
        # The one place that chooses by backend: on CPU, XLA otherwise computes BN + ReLU again inside
        # the transposing copy that feeds each weight gradient, which costs half of the step.
        convolve = _barred if jax.default_backend() == "cpu" else _plain
        return convolve(self.stride, x.astype(self.dtype), kernel.astype(self.dtype))


def _plain(stride, x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _barred(stride, x, kernel):
    return _plain(stride, x, kernel)


def _forward(stride, x, kernel):
    return _plain(stride, x, kernel), (x, kernel)


def _backward(stride, saved, cotangent):
    # The same gradients; only fusion across the barrier is forbidden.
    x, kernel = saved
    x, cotangent = lax.optimization_barrier((x, cotangent))
    return jax.vjp(partial(_plain, stride), x, kernel)[1](cotangent)


_barred.defvjp(_forward, _backward)
