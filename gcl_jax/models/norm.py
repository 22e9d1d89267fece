"""Batch normalization with torch's running statistics, over the global batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """Batch normalization: (x - mean) / sqrt(var + eps) * scale + bias (Ioffe & Szegedy 2015).

    Batch statistics use the biased variance; the running variance takes the *unbiased* one,
    N / (N - 1) times larger, as torch does (flax's own layer keeps the biased one). ``momentum``
    is the share of the old value, 0.9 where torch says 0.1. Under jit with a sharded batch the
    means are over the global batch. Statistics are float32 (float64 under x64) whatever
    ``dtype`` the activations have.

    x: [N, H, W, C] or [N, C]; ``train=False`` uses the running statistics and moves nothing.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: jnp.dtype = jnp.float32
    scale_init: nn.initializers.Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels = x.shape[-1]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        scale = self.param("scale", self.scale_init, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        if train:
            axes = tuple(range(x.ndim - 1))
            wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
            mean = jnp.mean(wide, axes)
            # Two passes: E[x^2] - E[x]^2 loses the digits that parity with torch needs.
            var = jnp.mean(jnp.square(wide - mean), axes)
            count = x.size // channels
            if not self.is_initializing():
                keep, unbiased = self.momentum, count / max(count - 1, 1)
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * var * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        return (x * factor.astype(self.dtype) + (bias - mean * factor).astype(self.dtype)).astype(self.dtype)
