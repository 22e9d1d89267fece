"""Square convolution as torch pads it, with a backward pass that suits the backend."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class Conv(nn.Module):
    """Convolution of an odd ``size`` without bias, torch's symmetric padding size // 2 (SAME differs at stride 2).

    x [B, H, W, c] -> [B, H', W', filters]; with ``groups`` each sees c / groups channels. Kaiming-normal kernel.
    """

    filters: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32
    size: int = 3
    groups: int = 1
    kernel_init: nn.initializers.Initializer = nn.initializers.kaiming_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.filters)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        # The one place that chooses by backend: on CPU, XLA otherwise computes BN + ReLU again inside
        # the transposing copy that feeds each weight gradient, which costs half of the step.
        convolve = _barred if jax.default_backend() == "cpu" else _plain
        return convolve(self.stride, self.groups, x.astype(self.dtype), kernel.astype(self.dtype))


def _plain(stride, groups, x, kernel):
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _barred(stride, groups, x, kernel):
    return _plain(stride, groups, x, kernel)


def _forward(stride, groups, x, kernel):
    return _plain(stride, groups, x, kernel), (x, kernel)


def _backward(stride, groups, saved, cotangent):
    # The same gradients; only fusion across the barrier is forbidden.
    x, kernel = saved
    x, cotangent = lax.optimization_barrier((x, cotangent))
    return jax.vjp(partial(_plain, stride, groups), x, kernel)[1](cotangent)


_barred.defvjp(_forward, _backward)
