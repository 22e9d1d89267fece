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
        convolve = _chosen(jax.default_backend(), self.stride, self.groups, self.size, x.shape)
        return convolve(self.stride, self.groups, x.astype(self.dtype), kernel.astype(self.dtype))


def _chosen(backend, stride, groups, size, shape):
    """The one place that chooses by backend."""
    if backend != "cpu":
        return _plain
    # XLA's kernels for the CPU do not take a map smaller than the window, nor does its gradient pass a stride down to
    # one: a loop of about 1 GFLOP/s does.
    if groups == 1 and -(-min(shape[1:3]) // stride) < size:
        return _windows
    # XLA otherwise computes BN + ReLU again inside the transposing copy that feeds each weight gradient, which costs
    # half of the step.
    return _barred


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


def _windows(stride, groups, x, kernel):
    """The same as one matrix product, of all windows side by side."""
    del groups  # 1
    size, pad = kernel.shape[0], kernel.shape[0] // 2
    height, width = (-(-n // stride) for n in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = (stride * (n - 1) + 1 for n in (height, width))
    windows = [padded[:, i : i + rows : stride, j : j + columns : stride] for i in range(size) for j in range(size)]
    return jnp.matmul(jnp.concatenate(windows, axis=-1), kernel.reshape(-1, kernel.shape[-1]))


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
