"""Heads of contrastive methods: a classifier, and a projection of the same features to the unit sphere."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models.heads import dot, linear_scores, normalize, uniform

DIM = 128  # of the projection


class ProjectionHead(nn.Module):
    """Linear classifier, and "projection" z = unit(W2 relu(W1 f)) with 128 dimensions (Hybrid-SC, section 3.2).

    With ``prototypes`` there is one of unit length for each class beside it, [C, 128], learned.
    """

    num_classes: int
    prototypes: bool = False

    @nn.compact
    def __call__(self, features: jax.Array) -> dict[str, jax.Array]:
        features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
        hidden = nn.relu(self._layer("hidden", features, features.shape[-1]))
        found = {
            "scores": linear_scores(self, features),
            "projection": normalize(self._layer("projection", hidden, DIM), axis=1),
        }
        if self.prototypes:
            shape = (self.num_classes, DIM)
            found["prototypes"] = normalize(self.param("prototypes", uniform(DIM), shape, jnp.float32), axis=1)
        return found

    def _layer(self, name, x, width):
        dim = x.shape[-1]
        kernel = self.param(f"{name}_kernel", uniform(dim), (dim, width), jnp.float32)
        return dot(x, kernel) + self.param(f"{name}_bias", uniform(dim), (width,), jnp.float32)
