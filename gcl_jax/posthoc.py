"""Rules applied after training: tau-normalisation, logit adjustment, nearest class mean.

Pure functions of arrays. Shapes: ``features`` [B, D], ``kernel`` [D, C] (a head's, one class a column), ``logits``
[B, C], ``counts`` [C]; ``tau`` is a number or a traced scalar, so that a grid of them compiles once.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Real

from gcl_jax.errors import require_one_of
from gcl_jax.vectors import normalize


def tau_normalize(kernel: Float[Array, "D C"], tau: Float[Array, ""] | float) -> Float[Array, "D C"]:
    """tau-normalised classifier, [D, C]: w_j / ||w_j||^tau (Decoupling, Kang et al. 2020, section 4).

    tau = 0 leaves the kernel, tau = 1 makes unit columns; a column of zeros stays zero.

    >>> tau_normalize(jnp.array([[3.0, 0.0], [4.0, 2.0]]), 1.0).round(3).tolist()
    [[0.6000000238418579, 0.0], [0.800000011920929, 1.0]]
    """
    squared = jnp.maximum(jnp.sum(jnp.square(kernel), axis=0, keepdims=True), 1e-24)  # as `normalize`
    return kernel * squared ** (-0.5 * tau)


def logit_adjust(
    logits: Float[Array, "*B C"], counts: Real[Array, " C"], tau: Float[Array, ""] | float = 1.0
) -> Float[Array, "*B C"]:
    """Post-hoc logit adjustment, [B, C]: z_j - tau * log(n_j / N) (Menon et al. 2021, eq. 9).

    >>> [round(z, 3) for z in logit_adjust(jnp.zeros(2), jnp.array([3.0, 1.0])).tolist()]
    [0.288, 1.386]
    """
    return logits - tau * jnp.log(counts / jnp.sum(counts))


NEAREST_MEAN_VARIANTS = ("un", "l2n", "cl2n")


def nearest_mean_features(
    features: Float[Array, "B D"], mean: Float[Array, " D"], variant: str = "cl2n"
) -> Float[Array, "B D"]:
    """Features as nearest-class-mean classification compares them, [B, D] (Decoupling's published code).

    un: x;  l2n: x / ||x||;  cl2n: (x - m) / ||x - m||. ``mean`` m [D] is that of all *training* features, for test
    features too; only cl2n reads it. Raises UserError for an unknown variant.

    >>> nearest_mean_features(jnp.array([[4.0, 5.0]]), jnp.array([1.0, 1.0])).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    require_one_of("nearest-mean variant", variant, NEAREST_MEAN_VARIANTS)
    if variant == "un":
        return features
    return normalize(features - mean if variant == "cl2n" else features, axis=1)


def class_centroids(
    features: Float[Array, "B D"], labels: Integer[Array, " B"], num_classes: int
) -> Float[Array, "C D"]:
    """Mean feature of each class, [C, D]; not normalized again. Zeros for a class that ``labels`` int[B] lack.

    >>> class_centroids(jnp.array([[1.0], [3.0], [5.0]]), jnp.array([0, 0, 1]), 2).tolist()
    [[2.0], [5.0]]
    """
    sums = jax.ops.segment_sum(features, labels, num_classes)
    return sums / jnp.maximum(jnp.bincount(labels, length=num_classes), 1)[:, None]


def nearest_mean_scores(features: Float[Array, "B D"], centroids: Float[Array, "C D"]) -> Float[Array, "B C"]:
    """Nearest class mean, [B, C]: minus the squared distance, -||x - mu_j||^2 (Decoupling's published code).

    ``features`` and ``centroids`` [C, D] have both been through `nearest_mean_features`.

    >>> nearest_mean_scores(jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0], [1.0, 0.0]])).tolist()
    [[-25.0, -1.0]]
    """
    # Moving the origin into the centroids changes no distance and keeps ||x||^2 - 2 x.mu + ||mu||^2 from canceling.
    origin = jnp.mean(centroids, axis=0)
    x, mu = features - origin, centroids - origin
    dots = jnp.matmul(x, mu.T, precision=jax.lax.Precision.HIGHEST)
    return 2 * dots - jnp.sum(jnp.square(x), axis=1)[:, None] - jnp.sum(jnp.square(mu), axis=1)[None]
