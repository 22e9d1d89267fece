"""OLTR's head (Liu et al. 2019): attention on the last feature map, and an embedding that a memory enriches."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.centroids import squared_distances
from gcl_jax.models.heads import linear_scores, torch_linear, uniform
from gcl_jax.models.modulated_attention import ModulatedAttention
from gcl_jax.vectors import dot, normalize

REACH = 10.0


def meta_embedding(features: jax.Array, centroids: jax.Array, address: jax.Array, selector: jax.Array) -> jax.Array:
    """v = 10 / min_j ||x - c_j|| * (x + selector * softmax(address) C), [B, D] (OLTR, section 3.1; its published code).

    ``features`` x [B, D], ``centroids`` C [C, D], ``address`` [B, C] of the memory, ``selector`` [B, D] in -1..1.
    Far from all centroids, as an unknown class would be, v is short. Finite where x lies on a centroid.

    >>> x, c = jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 0.0], [-9.0, 0.0]])
    >>> meta_embedding(x, c, jnp.array([[0.0, 99.0]]), jnp.ones((1, 2))).tolist()
    [[-12.0, 8.0]]
    """
    nearest = jnp.min(squared_distances(features, centroids), axis=1, keepdims=True)
    reach = REACH * jax.lax.rsqrt(jnp.maximum(nearest, 1e-12))
    return reach * (features + selector * dot(jax.nn.softmax(address), centroids))


def squashed_cosine(embedding: jax.Array, kernel: jax.Array) -> jax.Array:
    """||v|| / (1 + ||v||) cos(v, w_j), [B, C], with ``kernel`` [D, C] (OLTR's cosine classifier); 0 at v = 0.

    >>> squashed_cosine(jnp.array([[3.0, 4.0]]), jnp.array([[2.0], [0.0]])).round(3).tolist()
    [[0.5]]
    """
    norm = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(embedding), axis=1, keepdims=True), 1e-24))
    return dot(embedding / (1 + norm), normalize(kernel, axis=0))


class MetaEmbeddingHead(nn.Module):
    """Feature map [B, H, W, D] -> "features" x = ReLU(fc(mean of the attended map)), "scores", "centroids" [C, D].

    ``kernel`` and ``bias`` address the memory and are the classifier of the stage before. The scores read the centroids
    as constants, and `gcl_jax.centroids` moves them; they start at 0, for the method to place. x has ``width``
    dimensions, or where that is 0 as many as the map.
    """

    num_classes: int
    width: int = 0
    takes: ClassVar[str] = "map"

    @nn.compact
    def __call__(self, feature_map: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        attended = ModulatedAttention(name="attention")(feature_map)
        dim = self.width or attended.shape[-1]
        x = nn.relu(torch_linear(self, "feature_", jnp.mean(attended, axis=(1, 2)), dim))
        centroids = self.param("centroids", nn.initializers.zeros, (self.num_classes, dim), jnp.float32)
        memory = jax.lax.stop_gradient(centroids)
        v = meta_embedding(x, memory, linear_scores(self, x), jnp.tanh(torch_linear(self, "selector_", x, dim)))
        kernel = self.param("cosine_kernel", uniform(dim), (dim, self.num_classes), jnp.float32)
        return {"features": x, "scores": squashed_cosine(v, kernel), "centroids": centroids}
