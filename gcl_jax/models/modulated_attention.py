"""Modulated attention on a feature map (OLTR, Liu et al. 2019, section 3.2)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models.heads import uniform
from gcl_jax.vectors import dot

_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class ModulatedAttention(nn.Module):
    """x + softmax_p(W_s vec(x)) * W_m y(x): attention to places, p, modulates self-attention, y.

    Maps [B, H, W, C] -> the same. y_p = sum_q softmax_q(theta(x_p) . phi(x_q)) g(x_q) is a non-local block of C / 2
    channels, unscaled; W_m has no bias, and neither has phi, whose bias the softmax over q would cancel.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        places = height * width
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(batch, places, channels)

        def project(name, source, size, bias):
            y = dot(source, self.param(f"{name}_kernel", _FAN_OUT, (source.shape[-1], size), jnp.float32))
            return y + self.param(f"{name}_bias", nn.initializers.zeros, (size,), jnp.float32) if bias else y

        theta = project("theta", x, channels // 2, bias=True)
        phi = project("phi", x, channels // 2, bias=False)
        similarity = jax.nn.softmax(dot(theta, phi.swapaxes(1, 2)))  # [B, p, q]
        mask = project("mask", dot(similarity, project("g", x, channels // 2, bias=True)), channels, bias=False)

        fan_in = places * channels
        kernel = self.param("spatial_kernel", uniform(fan_in), (fan_in, places), jnp.float32)
        bias = self.param("spatial_bias", uniform(fan_in), (places,), jnp.float32)
        spatial = jax.nn.softmax(dot(x.reshape(batch, fan_in), kernel) + bias)
        return (x + spatial[..., None] * mask).reshape(batch, height, width, channels)
