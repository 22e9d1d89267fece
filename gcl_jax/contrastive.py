"""Supervised contrastive losses, per anchor, as functions of arrays: no config, no state, no reduction.

``features`` [N, D] have unit length, ``labels`` int[N]. Under jit with a global mesh, positives and negatives are those
of the global batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from gcl_jax.arrays import AnyArray
from gcl_jax.vectors import dot


def supervised_contrastive(
    features: Float[AnyArray, "N D"], labels: Integer[AnyArray, " N"], *, temperature: float = 0.1
) -> Float[Array, " N"]:
    """Supervised contrastive loss of each anchor, [N] (Khosla et al. 2020, eq. 2; Hybrid-SC, eq. 3).

    l_i = -1/|P_i| sum_{p in P_i} log(exp(z_i.z_p / t) / sum_{k != i} exp(z_i.z_k / t)), P_i the other features of the
    anchor's class, other views of its image included. An anchor without positives gives 0.

    >>> z = jnp.eye(2)[jnp.array([0, 0, 1])]
    >>> [round(x, 3) for x in supervised_contrastive(z, jnp.array([0, 0, 1]), temperature=1.0).tolist()]
    [0.313, 0.313, 0.0]
    """
    others = ~jnp.eye(len(labels), dtype=bool)
    positive = (labels[:, None] == labels[None]) & others
    similarity = dot(features, features.T) / temperature
    log_p = similarity - jax.nn.logsumexp(similarity, axis=1, where=others, keepdims=True)
    return jnp.sum(-log_p, axis=1, where=positive) / jnp.maximum(jnp.sum(positive, axis=1), 1)


def prototypical_contrastive(
    features: Float[AnyArray, "N D"],
    labels: Integer[AnyArray, " N"],
    prototypes: Float[AnyArray, "C D"],
    *,
    temperature: float = 1.0,
) -> Float[Array, " N"]:
    """Prototypical supervised contrastive loss of each anchor, [N] (Hybrid-PSC, Wang et al. 2021, eq. 5).

    l_i = -log(exp(z_i.p_y / t) / sum_{j != y} exp(z_i.p_j / t)) with ``prototypes`` [C, D]; it can be negative, for the
    own class is not in the sum.

    >>> prototypical_contrastive(jnp.eye(2), jnp.array([0, 1]), jnp.eye(2)).tolist()
    [-1.0, -1.0]
    """
    similarity = dot(features, prototypes.T) / temperature
    own_class = jax.nn.one_hot(labels, len(prototypes), dtype=bool)
    of_own = jnp.sum(similarity, axis=1, where=own_class)
    return jax.nn.logsumexp(similarity, axis=1, where=~own_class) - of_own
