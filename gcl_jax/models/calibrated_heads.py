"""Heads of re-training methods: a trained classifier, kept under the same names, with few parameters around it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax import posthoc
from gcl_jax.models.heads import cosine_scores, linear_scores, uniform
from gcl_jax.vectors import dot, normalize


def _scaled(module, scores):
    return scores * module.param("scale", nn.initializers.ones, (module.num_classes,), jnp.float32)


class LinearLWS(nn.Module):
    """Learnable weight scaling: z_j = a_j (f . w_j + b_j), a = 1 at first (Decoupling, section 4; MiSLAS, eq. 7)."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> jax.Array:
        return _scaled(self, linear_scores(self, features))


class CosineLWS(nn.Module):
    """Learnable weight scaling of a cosine head: z_j = a_j cos(f, w_j), a = 1 at first."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> jax.Array:
        return _scaled(self, cosine_scores(self, features))


def _aligned(module, scores, seen):
    dim, classes = seen.shape[-1], module.num_classes
    kernel = module.param("confidence_kernel", nn.initializers.constant(0.1), (dim,), jnp.float32)
    confidence = dot(seen, kernel) + module.param("confidence_bias", uniform(dim), (), jnp.float32)
    return {
        "scores": scores,
        "confidence": jax.nn.sigmoid(confidence),  # [B]
        "magnitude": module.param("magnitude", nn.initializers.ones, (classes,), jnp.float32),
        "margin": module.param("margin", nn.initializers.zeros, (classes,), jnp.float32),
    }


class LinearDisAlign(nn.Module):
    """A linear head with DisAlign's parts, which the method puts together: confidence sigma(v . f + v0), a and b."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
        return _aligned(self, linear_scores(self, features), features)


class CosineDisAlign(nn.Module):
    """The same around a cosine head; its confidence reads the normalized feature (DisAlign's published code)."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
        return _aligned(self, cosine_scores(self, features), normalize(features, axis=1))


class HalfCosine(nn.Module):
    """z_j = w_j . f / ||f||: a cosine head that keeps its kernel's norms, for tau-normalisation of such heads."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> jax.Array:
        features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
        shape = (features.shape[-1], self.num_classes)
        kernel = self.param("kernel", nn.initializers.kaiming_normal(), shape, jnp.float32)
        return dot(normalize(features, axis=1), kernel)


class NearestMean(nn.Module):
    """z_j = -||g(f) - mu_j||^2 with g of ``variant``; ``kernel`` holds the centroids [D, C], ``mean`` all features'.

    Nearest class mean (Decoupling, section 4); see `posthoc.nearest_mean_features`.
    """

    num_classes: int
    variant: str

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> jax.Array:
        features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
        dim = features.shape[-1]
        kernel = self.param("kernel", nn.initializers.kaiming_normal(), (dim, self.num_classes), jnp.float32)
        mean = self.param("mean", nn.initializers.zeros, (dim,), jnp.float32)
        return posthoc.nearest_mean_scores(posthoc.nearest_mean_features(features, mean, self.variant), kernel.T)
