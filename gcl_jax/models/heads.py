"""Classifier heads: features [B, D] -> scores [B, C], always computed in float32."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.vectors import dot, normalize


def uniform(fan_in: int):
    """torch's own initialiser of linear layers: U(+-1/sqrt(fan_in))."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


def torch_linear(module: nn.Module, prefix: str, x: jax.Array, size: int) -> jax.Array:
    """x W + b with ``prefix``kernel and ``prefix``bias of ``module``, all ~ U(+-1/sqrt(D)): torch's nn.Linear."""
    init = uniform(x.shape[-1])
    kernel = module.param(f"{prefix}kernel", init, (x.shape[-1], size), jnp.float32)
    return dot(x, kernel) + module.param(f"{prefix}bias", init, (size,), jnp.float32)


def _unit_columns(key, shape, dtype):
    return normalize(jax.random.uniform(key, shape, dtype, -1.0, 1.0), axis=0)


def linear_scores(module: nn.Module, features: jax.Array) -> jax.Array:
    """f W + b with the parameters of ``module``; W Kaiming-normal, b ~ U(+-1/sqrt(D)) (LDAM's ``ResNet_s``)."""
    features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    dim = features.shape[-1]
    kernel = module.param("kernel", nn.initializers.kaiming_normal(), (dim, module.num_classes), jnp.float32)
    return dot(features, kernel) + module.param("bias", uniform(dim), (module.num_classes,), jnp.float32)


def cosine_scores(module: nn.Module, features: jax.Array) -> jax.Array:
    """cos(f, w_j) with the parameters of ``module``; W ~ U(-1, 1) with columns of unit length."""
    features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    kernel = module.param("kernel", _unit_columns, (features.shape[-1], module.num_classes), jnp.float32)
    return dot(normalize(features, axis=1), normalize(kernel, axis=0))


class LinearHead(nn.Module):
    """Linear classifier: z = f W + b."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> jax.Array:
        return linear_scores(self, features)


class UniformLinearHead(nn.Module):
    """Linear classifier with torch's own initialization: weights and bias ~ U(+-1/sqrt(D)) (BBN's published code)."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> jax.Array:
        return torch_linear(self, "", features, self.num_classes)


class CosineHead(nn.Module):
    """Cosine classifier: z_j = f . w_j / (||f|| ||w_j||), no scale inside (LDAM's ``NormedLinear``)."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> jax.Array:
        return cosine_scores(self, features)
