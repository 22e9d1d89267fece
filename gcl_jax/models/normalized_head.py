"""The multi-head normalized classifier of De-confound-TDE (Tang et al. 2020), and what its moving feature explains."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax.models.heads import uniform
from gcl_jax.vectors import dot, normalize

PARTS = 2  # heads K of the published CIFAR and ImageNet settings
GAMMA = 1 / 32


class TwoPartNormalizedHead(nn.Module):
    """z_j = 1/K sum_k w_jk . x_k / ((||w_jk|| + gamma) ||x_k||) over the K = 2 parts of features and weights (eq. 7).

    gamma = 1/32. With ``direction`` e [D], "effect" is the part of z along it: 1/K sum_k cos(x_k, e_k) w_jk . e_k /
    ((||w_jk|| + gamma) ||e_k||), so that z - alpha * effect is the total direct effect (eq. 10). Features, and e, have
    an even number of dimensions.
    """

    num_classes: int

    @nn.compact
    def __call__(
        self, features: jax.Array, *, train: bool = False, direction: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        dim = features.shape[-1]
        kernel = self.param("kernel", uniform(dim), (dim, self.num_classes), jnp.float32)
        scores, effect = 0.0, 0.0
        for part in range(PARTS):
            part_of = slice(part * dim // PARTS, (part + 1) * dim // PARTS)
            x, w = normalize(features[:, part_of], axis=1), kernel[part_of]
            # The norm's gradient at a column of zeros is finite this way, and its value the same elsewhere.
            norm = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(w), axis=0, keepdims=True), 1e-24))
            w = w / (norm + GAMMA)
            scores += dot(x, w) / PARTS
            if direction is not None:
                e = normalize(direction[None, part_of], axis=1)
                effect += dot(x, e.T) * dot(e, w) / PARTS
        return {"scores": scores} if direction is None else {"scores": scores, "effect": effect}
