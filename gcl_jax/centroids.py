"""Learned class centroids in the space of features (OLTR, Liu et al. 2019): what pulls at them, as functions of arrays.

``features`` [B, D], ``centroids`` [C, D], ``labels`` int[B]. Under jit with a global mesh, batches are global.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer


def squared_distances(features: Float[Array, "B D"], centroids: Float[Array, "C D"]) -> Float[Array, "B C"]:
    """||x_i - c_j||^2, [B, C].

    >>> squared_distances(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0], [1.0, 0.0]])).tolist()
    [[25.0, 1.0]]
    """
    # Not ||x||^2 - 2 x.c + ||c||^2, which cancels where a feature lies on a centroid. XLA fuses the sum.
    return jnp.sum(jnp.square(features[:, None] - centroids[None]), axis=2)


@jax.custom_vjp
def attraction(
    features: Float[Array, "B D"],
    centroids: Float[Array, "C D"],
    labels: Integer[Array, " B"],
    weight: Float[Array, ""] | float = 1.0,
) -> Float[Array, " B"]:
    """weight / 2 ||x_i - c_{y_i}||^2 of each example, [B], with a gradient to the centroids that is not its own.

    OLTR's published code: to x_i it is weight (x_i - c_{y_i}); to c_j it is sum_{i: y_i = j} (c_j - x_i) / (1 + n_j),
    n_j the images of class j in the batch, whatever ``weight`` is: a step along it moves a centroid towards the mean of
    its batch, and one that the batch lacks stays. ``weight`` is a number and gets no gradient.

    >>> x, c = jnp.array([[1.0], [3.0]]), jnp.array([[0.0], [9.0]])
    >>> pull = jax.grad(lambda c: attraction(x, c, jnp.array([0, 0]), 0.01).sum())
    >>> [round(x, 3) for x in pull(c)[:, 0].tolist()]
    [-1.333, 0.0]
    """
    return weight / 2 * jnp.sum(jnp.square(features - centroids[labels]), axis=1)


def _forward(features, centroids, labels, weight):
    return attraction(features, centroids, labels, weight), (features, centroids, labels, weight)


def _backward(saved, g):
    features, centroids, labels, weight = saved
    difference = g[:, None] * (features - centroids[labels])
    counts = jnp.bincount(labels, length=len(centroids))
    pulled = jax.ops.segment_sum(-difference, labels, len(centroids)) / (1 + counts)[:, None]
    no_labels = np.zeros(labels.shape, jax.dtypes.float0)
    return weight * difference, pulled.astype(centroids.dtype), no_labels, jnp.zeros_like(weight)


attraction.defvjp(_forward, _backward)


def repulsion(
    features: Float[Array, "B D"],
    centroids: Float[Array, "C D"],
    labels: Integer[Array, " B"],
    margin: float = 10.0,
) -> Float[Array, ""]:
    """max(0, margin - sum_i sum_{j != y_i} ||x_i - c_j||^2 / (B C)), one scalar a batch (OLTR's published code).

    >>> repulsion(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0], [1.0, 0.0]]), jnp.array([0])).tolist()
    9.5
    """
    others = ~jax.nn.one_hot(labels, len(centroids), dtype=bool)
    mean = jnp.sum(squared_distances(features, centroids), where=others) / others.size
    return jax.nn.relu(margin - mean)
