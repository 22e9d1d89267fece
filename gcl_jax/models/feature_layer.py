"""A classifier behind a feature layer of its own: OLTR's first stage on Places-LT (Liu et al. 2019)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models.heads import torch_linear


class FeatureLayerHead(nn.Module):
    """Features f [B, D] -> "features" x = ReLU(V f + v) [B, width], "scores" W x + b [B, C]; torch's initialization.

    A `MetaEmbeddingHead` of the same ``width`` goes on with all four parameters.
    """

    num_classes: int
    width: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
        x = nn.relu(torch_linear(self, "feature_", features, self.width))
        return {"features": x, "scores": torch_linear(self, "", x, self.num_classes)}
