"""Per-example losses of long-tailed recognition, as functions of arrays.

No config, no state, no reduction: each returns [B] in float32 (float64 of float64), whatever narrower type the scores
have, so that any loop, mixup or weighting can use them. ``cloud`` is of `longtail.cloud_sizes`. Logits of cosine heads
are plain cosines in [-1, 1]; the scale s is applied here.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from gcl_jax.arrays import AnyArray


def _at_least_float32(scores: Float[AnyArray, "..."]) -> Float[AnyArray, "..."]:
    """Margins, clouds and sums are lost in bfloat16, whose numbers just below 1 are 0.004 apart."""
    return scores.astype(jnp.promote_types(scores.dtype, jnp.float32))


def cross_entropy(logits: Float[AnyArray, "B C"], labels: Integer[AnyArray, " B"]) -> Float[Array, " B"]:
    """Softmax cross-entropy, float32[B]: -log softmax(logits)_y.

    >>> round(cross_entropy(jnp.zeros((1, 4)), jnp.array([2])).item(), 4)
    1.3863
    """
    log_p = jax.nn.log_softmax(_at_least_float32(logits))
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def focal(cross_entropy: Float[Array, " B"], gamma: float, *, detach: bool = False) -> Float[Array, " B"]:
    """Focal factor on a per-example cross-entropy, [B]: (1 - p)^gamma * CE with p = exp(-CE).

    Lin et al. 2017. ``detach=True`` stops the gradient through the factor, as GCL's
    published stage 2 does; LDAM's code does not. LDAM's class weights stand inside p: give w_y * CE and take the
    plain mean.

    >>> round(focal(jnp.array([0.6931472]), 1.0).item(), 4)
    0.3466
    """
    if gamma == 0:
        return cross_entropy
    miss = -jnp.expm1(-cross_entropy)  # 1 - p without cancellation
    factor = miss if gamma == 1 else jnp.maximum(miss, 1e-12) ** gamma
    return (jax.lax.stop_gradient(factor) if detach else factor) * cross_entropy


def ldam(
    cosine: Float[AnyArray, "B C"],
    labels: Integer[AnyArray, " B"],
    margins: Float[AnyArray, " C"],
    *,
    scale: float = 30.0,
) -> Float[Array, " B"]:
    """LDAM loss, [B]: CE(s * (cos_j - m_y [j = y])) (Cao et al. 2019, eq. 12); ``margins`` [C] of `class_weights`.

    >>> round(ldam(jnp.zeros((1, 2)), jnp.array([0]), jnp.zeros(2)).item(), 4)
    0.6931
    """
    cosine = _at_least_float32(cosine)
    target = jax.nn.one_hot(labels, cosine.shape[1], dtype=cosine.dtype)
    return cross_entropy(scale * (cosine - target * jnp.asarray(margins, cosine.dtype)[None]), labels)


def logit_adjusted(
    logits: Float[AnyArray, "B C"],
    labels: Integer[AnyArray, " B"],
    log_prior: Float[AnyArray, " C"],
    *,
    tau: float = 1.0,
) -> Float[Array, " B"]:
    """Logit-adjusted cross-entropy, [B]: CE(f + tau * log pi) (Menon et al. 2021, eq. 10); plain f at test.

    tau = 1 is Balanced Softmax (Ren et al. 2020, theorem 1). ``log_prior`` [C] is `class_weights.log_priors`; adding
    one number to all of it, as with raw counts for pi, changes nothing.

    >>> round(logit_adjusted(jnp.zeros((1, 2)), jnp.array([1]), jnp.log(jnp.array([0.75, 0.25]))).item(), 4)
    1.3863
    """
    logits = _at_least_float32(logits)
    return cross_entropy(logits + tau * jnp.asarray(log_prior, logits.dtype)[None], labels)


def label_aware_smoothing(
    logits: Float[AnyArray, "B C"], labels: Integer[AnyArray, " B"], eps: Float[AnyArray, " C"]
) -> Float[Array, " B"]:
    """Label-aware smoothing, [B]: (1 - eps_y) * (-log p_y) + eps_y * mean_c(-log p_c) (Zhong et al. 2021, MiSLAS).

    ``eps`` [C] is `class_weights.smoothing_sizes`. The mean is over all C classes, the target included, as in the
    published code; the paper spreads eps_y over the C - 1 others. One eps for all is torch's label smoothing.

    >>> round(label_aware_smoothing(jnp.array([[0.0, 1.0]]), jnp.array([1]), jnp.array([0.0, 0.4])).item(), 4)
    0.5133
    """
    log_p = jax.nn.log_softmax(_at_least_float32(logits))
    nll = -jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
    eps = jnp.asarray(eps, log_p.dtype)[labels]
    return (1 - eps) * nll - eps * jnp.mean(log_p, axis=1)


def gcl_noise(key: jax.Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """The cloud's Gaussian, float32[shape]: Normal(0, standard deviation 1/3), before the clamp.

    Published GCL code: three standard deviations reach the clamp at 1, so E|eps| = 0.266.

    >>> gcl_noise(jax.random.key(0), (2, 3)).shape
    (2, 3)
    """
    return jax.random.normal(key, shape, jnp.float32) / 3


def _cloud_radius(noise: Float[AnyArray, "B C"], dtype: jnp.dtype) -> Float[Array, "B C"]:
    return jnp.abs(jnp.clip(jax.lax.stop_gradient(noise), -1.0, 1.0)).astype(dtype)


def gcl_logits(
    cosine: Float[AnyArray, "B C"],
    labels: Integer[AnyArray, " B"],
    noise: Float[AnyArray, "B C"],
    cloud: Float[AnyArray, " C"],
    *,
    scale: float = 30.0,
    margin: float = 0.0,
    noise_multiplier: float = 0.5,
) -> Float[AnyArray, "B C"]:
    """Clouded logits, [B, C]: s * (cos_j - k * cloud_j * |eps_ij| - m [j = y]) (GCL eq. 9 as published in code).

    ``noise`` is clamped to [-1, 1] and carries no gradient; ``cloud`` is delta_j / delta_max.

    >>> gcl_logits(jnp.ones((1, 2)), jnp.array([0]), jnp.ones((1, 2)), jnp.array([0., 1.])).tolist()
    [[30.0, 15.0]]
    """
    cosine = _at_least_float32(cosine)
    radius = _cloud_radius(noise, cosine.dtype)
    clouded = cosine - noise_multiplier * jnp.asarray(cloud, cosine.dtype)[None] * radius
    return scale * (clouded - margin * jax.nn.one_hot(labels, cosine.shape[1], dtype=cosine.dtype))


def gcl(
    cosine: Float[AnyArray, "B C"],
    labels: Integer[AnyArray, " B"],
    noise: Float[AnyArray, "B C"],
    cloud: Float[AnyArray, " C"],
    *,
    scale: float = 30.0,
    margin: float = 0.0,
    noise_multiplier: float = 0.5,
    focal_gamma: float = 0.0,
) -> Float[Array, " B"]:
    """Gaussian clouded logit adjustment, [B]: CE on `gcl_logits` (GCL eq. 10).

    With ``focal_gamma`` > 0 the published stage-2 wrapper: stop_gradient((1 - p)^gamma) * CE.

    >>> cloud = jnp.array([0.0, 1.0])
    >>> round(gcl(jnp.zeros((1, 2)), jnp.array([0]), jnp.zeros((1, 2)), cloud).item(), 4)
    0.6931
    """
    logits = gcl_logits(cosine, labels, noise, cloud, scale=scale, margin=margin, noise_multiplier=noise_multiplier)
    return focal(cross_entropy(logits, labels), focal_gamma, detach=True)


def angular_gcl_logits(
    cosine: Float[AnyArray, "B C"],
    labels: Integer[AnyArray, " B"],
    noise: Float[AnyArray, "B C"],
    cloud: Float[AnyArray, " C"],
    *,
    scale: float = 30.0,
    margin: float = 0.0,
    noise_multiplier: float = 0.5,
    easy_margin: bool = True,
) -> Float[Array, "B C"]:
    """Clouds on the angle, [B, C]: s * cos(theta_ij + m_ij) (GCL, TAI 2024, published code).

    m_ij = (pi / 2) * k * cloud_j * |eps_ij| + m [j = y]. ``easy_margin`` leaves classes at
    cos <= 0 alone; otherwise, where theta + m would pass pi, the logit is cos - sin(pi - m).

    >>> angular_gcl_logits(jnp.full((1, 2), 0.5), jnp.array([0]), jnp.zeros((1, 2)), jnp.ones(2)).tolist()
    [[15.0, 15.0]]
    """
    cosine = _at_least_float32(cosine)
    dtype = cosine.dtype
    angle = (np.pi / 2) * noise_multiplier * jnp.asarray(cloud, dtype)[None] * _cloud_radius(noise, dtype)
    angle = angle + margin * jax.nn.one_hot(labels, cosine.shape[1], dtype=dtype)
    # The slope of sqrt(1 - c^2) is infinite at |c| = 1, which rounding does reach.
    c = jnp.clip(cosine, -1 + 1e-7, 1 - 1e-7)
    shifted = c * jnp.cos(angle) - jnp.sqrt(1 - c * c) * jnp.sin(angle)
    if easy_margin:
        shifted = jnp.where(cosine > 0, shifted, cosine)
    else:
        shifted = jnp.where(cosine > jnp.cos(np.pi - angle), shifted, cosine - jnp.sin(np.pi - angle))
    return scale * shifted


def angular_gcl(
    cosine: Float[AnyArray, "B C"],
    labels: Integer[AnyArray, " B"],
    noise: Float[AnyArray, "B C"],
    cloud: Float[AnyArray, " C"],
    *,
    scale: float = 30.0,
    margin: float = 0.0,
    noise_multiplier: float = 0.5,
    easy_margin: bool = True,
    focal_gamma: float = 0.0,
) -> Float[Array, " B"]:
    """Angular GCL, [B]: CE on `angular_gcl_logits`, with the detached focal factor of `gcl`.

    >>> round(angular_gcl(jnp.zeros((1, 2)), jnp.array([0]), jnp.zeros((1, 2)), jnp.ones(2)).item(), 4)
    0.6931
    """
    logits = angular_gcl_logits(
        cosine, labels, noise, cloud,
        scale=scale, margin=margin, noise_multiplier=noise_multiplier, easy_margin=easy_margin,
    )  # fmt: skip
    return focal(cross_entropy(logits, labels), focal_gamma, detach=True)


def weighted_mean(per_example: Float[AnyArray, " B"], weight: Float[AnyArray, " B"] | None = None) -> Float[Array, ""]:
    """Mean over the global batch, scalar: sum_i w_i l_i / sum_i w_i (torch's weighted mean); plain without weights.

    >>> float(weighted_mean(jnp.array([1.0, 3.0]), jnp.array([3.0, 1.0])))
    1.5
    """
    if weight is None:
        return jnp.mean(per_example)
    return jnp.sum(weight * per_example) / jnp.sum(weight)
