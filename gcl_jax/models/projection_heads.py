"""Heads of contrastive methods: a classifier, and a projection of the same features to the unit sphere."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models.heads import linear_scores, torch_linear, uniform
from gcl_jax.vectors import normalize

DIM = 128  # of the projection


class ProjectionHead(nn.Module):
    """Linear classifier, and "projection" z = unit(W2 relu(W1 f)) with 128 dimensions (Hybrid-SC, section 3.2).

    With ``prototypes`` there is one of unit length for each class beside it, [C, 128], learned.
    """

    num_classes: int
    prototypes: bool = False

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
        hidden = nn.relu(torch_linear(self, "hidden_", features, features.shape[-1]))
        out = {
            "scores": linear_scores(self, features),
            "projection": normalize(torch_linear(self, "projection_", hidden, DIM), axis=1),
        }
        if self.prototypes:
            shape = (self.num_classes, DIM)
            out["prototypes"] = normalize(self.param("prototypes", uniform(DIM), shape, jnp.float32), axis=1)
        return out
