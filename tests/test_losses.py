"""Losses against numpy in float64: values, and gradients by central differences.

Every formula below is written from the papers, with angles where ours has cosines. Random statistics
are tested at 1e-6 each, four of them, so at a family-wise error rate of 4e-6, with fixed keys.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import relative_error

from gcl_jax import class_weights, longtail, losses

BATCH, CLASSES = 12, 6
COUNTS = np.array([500, 7, 120, 33, 3, 60])
ERROR = 1e-6


def inputs(seed=0):
    """(cosine [B, C], labels [B], noise [B, C]); about a third of the noise is beyond the clamp."""
    random = np.random.default_rng(seed)
    cosine = np.tanh(random.normal(size=(BATCH, CLASSES)))
    return cosine, random.permutation(np.arange(BATCH) % CLASSES), random.normal(size=(BATCH, CLASSES))


COSINE, LABELS, NOISE = inputs()
CLOUD = (np.log(500) - np.log(COUNTS)) / (np.log(500) - np.log(3))
TARGET = np.eye(CLASSES)[LABELS]


def ce(z):
    """-log of the target's share of sum_j exp(z_j), [B]."""
    z = np.asarray(z, np.float64)
    return np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - (TARGET * z).sum(1)


def ldam_logits(c, scale):
    margins = 0.5 * COUNTS**-0.25 / max(n**-0.25 for n in COUNTS)
    return scale * (c - TARGET * margins)


def clouded(c, scale, margin, k):
    size = np.minimum(np.abs(NOISE), 1)
    return scale * (c - k * CLOUD * size - margin * TARGET)


def on_the_angle(c, scale, margin, k, easy):
    theta, m = np.arccos(c), np.pi / 2 * k * CLOUD * np.minimum(np.abs(NOISE), 1) + margin * TARGET
    if easy:
        return scale * np.where(theta < np.pi / 2, np.cos(theta + m), c)
    return scale * np.where(theta + m < np.pi, np.cos(theta + m), c - np.sin(m))


def focal(gamma, logits, *, detach):
    """((1 - p)^gamma * CE)(c), with the factor held at its value at COSINE if it is detached."""
    fixed = (1 - np.exp(-ce(logits(COSINE)))) ** gamma
    return lambda c: (fixed if detach else (1 - np.exp(-ce(logits(c)))) ** gamma) * ce(logits(c))


def _gcl(**hyper):
    return lambda c: losses.gcl(c, LABELS, NOISE, CLOUD, **hyper)


def _angular(**hyper):
    return lambda c: losses.angular_gcl(c, LABELS, NOISE, CLOUD, **hyper)


def _focal(gamma, **hyper):
    return lambda c: losses.focal(losses.cross_entropy(c, LABELS), gamma, **hyper)


def five(c):
    return 5 * c


CASES = {  # name: (ours, the same in numpy), both functions of the cosines
    "cross_entropy": (lambda c: losses.cross_entropy(five(c), LABELS), lambda c: ce(five(c))),
    "focal1_detached": (lambda c: _focal(1.0, detach=True)(five(c)), focal(1, five, detach=True)),
    "focal2_detached": (lambda c: _focal(2.0, detach=True)(five(c)), focal(2, five, detach=True)),
    "focal1": (lambda c: _focal(1.0)(five(c)), focal(1, five, detach=False)),
    "focal0.5": (lambda c: _focal(0.5)(five(c)), focal(0.5, five, detach=False)),
    "ldam": (
        lambda c: losses.ldam(c, LABELS, class_weights.ldam_margins(COUNTS, 0.5), scale=30.0),
        lambda c: ce(ldam_logits(c, 30)),
    ),
    "gcl": (_gcl(), lambda c: ce(clouded(c, 30, 0, 0.5))),
    "gcl_margin": (_gcl(scale=15.0, margin=0.1, noise_multiplier=1.0), lambda c: ce(clouded(c, 15, 0.1, 1))),
    "gcl_focal": (
        _gcl(scale=20.0, margin=0.1, focal_gamma=1.0),
        focal(1, lambda c: clouded(c, 20, 0.1, 0.5), detach=True),
    ),
    "angular_easy": (_angular(), lambda c: ce(on_the_angle(c, 30, 0, 0.5, True))),
    "angular_easy_margin": (_angular(margin=0.3), lambda c: ce(on_the_angle(c, 30, 0.3, 0.5, True))),
    "angular_hard": (
        _angular(margin=0.5, noise_multiplier=0.9, easy_margin=False),
        lambda c: ce(on_the_angle(c, 30, 0.5, 0.9, False)),
    ),
    "angular_focal": (
        _angular(scale=15.0, margin=0.1, focal_gamma=1.0),
        focal(1, lambda c: on_the_angle(c, 15, 0.1, 0.5, True), detach=True),
    ),
}  # fmt: skip


def central_difference(loss, at, h=1e-6):
    grad = np.zeros_like(at)
    for i in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[i] = h
        grad[i] = (loss(at + step).sum() - loss(at - step).sum()) / (2 * h)
    return grad


@pytest.mark.parametrize("case", CASES)
def test_value_in_float64(case):
    ours, theirs = CASES[case]
    with jax.enable_x64(True):
        assert relative_error(ours(jnp.asarray(COSINE)), theirs(COSINE)) <= 1e-10


@pytest.mark.parametrize("case", CASES)
def test_value_in_float32(case):
    ours, theirs = CASES[case]
    value = ours(jnp.asarray(COSINE, jnp.float32))
    assert value.dtype == jnp.float32
    assert relative_error(value, theirs(COSINE)) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_gradient_equals_central_differences(case):
    ours, theirs = CASES[case]
    with jax.enable_x64(True):
        grad = jax.grad(lambda c: ours(c).sum())(jnp.asarray(COSINE))
    assert relative_error(grad, central_difference(theirs, COSINE)) <= 1e-6


def test_the_cases_reach_every_branch():
    theta = np.arccos(COSINE)
    shift = np.pi / 2 * 0.9 * CLOUD * np.minimum(np.abs(NOISE), 1) + 0.5 * TARGET
    assert 0 < (np.abs(NOISE) > 1).sum() < NOISE.size
    assert 0 < (COSINE > 0).sum() < COSINE.size
    assert 0 < (theta + shift > np.pi).sum() < COSINE.size


def test_detached_and_attached_focal_have_one_value_and_two_gradients():
    c = jnp.asarray(COSINE, jnp.float32)
    kept, stopped = (_focal(1.0, detach=detach) for detach in (False, True))
    assert kept(c).tolist() == stopped(c).tolist()
    difference = jax.grad(lambda c: kept(c).sum())(c) - jax.grad(lambda c: stopped(c).sum())(c)
    assert jnp.abs(difference).max() > 0.1


def test_focal_zero_is_the_cross_entropy():
    c = jnp.asarray(COSINE, jnp.float32)
    assert _focal(0.0)(c).tolist() == losses.cross_entropy(c, LABELS).tolist()


def test_largest_ldam_margin_is_the_rarest_class_s():
    margins = class_weights.ldam_margins(COUNTS, 0.5)
    assert (margins.argmax(), margins.max()) == (4, 0.5)
    np.testing.assert_allclose(margins, 0.5 * (3 / COUNTS) ** 0.25, rtol=1e-12)


CLOUDED = [losses.gcl_logits, losses.angular_gcl_logits]


@pytest.mark.parametrize("loss", [losses.gcl, losses.angular_gcl])
def test_without_clouds_gcl_is_scaled_cosine_cross_entropy(loss):
    c = jnp.asarray(COSINE, jnp.float32)
    assert relative_error(loss(c, LABELS, NOISE, np.zeros(CLASSES), scale=20.0), ce(20 * COSINE)) <= 1e-5


@pytest.mark.parametrize("logits", CLOUDED)
def test_margin_moves_the_target_only(logits):
    c = jnp.asarray(np.abs(COSINE), jnp.float32)  # the easy margin leaves negative cosines alone
    moved = np.asarray(logits(c, LABELS, NOISE, CLOUD, margin=0.1) - logits(c, LABELS, NOISE, CLOUD))
    assert np.all(moved[TARGET == 0] == 0)
    assert np.all(moved[TARGET == 1] < 0)


def test_margin_of_gcl_is_scale_times_m():
    c = jnp.asarray(COSINE, jnp.float32)
    moved = losses.gcl_logits(c, LABELS, NOISE, CLOUD, scale=20.0, margin=0.1) - losses.gcl_logits(
        c, LABELS, NOISE, CLOUD, scale=20.0
    )
    np.testing.assert_allclose(moved, -2 * TARGET, atol=1e-5)


@pytest.mark.parametrize("logits", CLOUDED)
def test_noise_beyond_the_clamp_changes_nothing_more(logits):
    c = jnp.asarray(COSINE, jnp.float32)
    at_clamp, beyond = (logits(c, LABELS, np.full(c.shape, e), CLOUD) for e in (1.0, -7.0))
    assert at_clamp.tolist() == beyond.tolist()


@pytest.mark.parametrize("logits", CLOUDED)
def test_largest_class_has_no_cloud(logits):
    c = jnp.asarray(COSINE, jnp.float32)
    assert relative_error(logits(c, LABELS, NOISE, CLOUD)[:, 0], 30 * COSINE[:, 0]) <= 1e-5


@pytest.mark.parametrize("loss", [losses.gcl, losses.angular_gcl])
def test_noise_carries_no_gradient(loss):
    c, noise = jnp.asarray(COSINE, jnp.float32), jnp.asarray(NOISE, jnp.float32)
    grad = jax.grad(lambda e: loss(c, LABELS, e, CLOUD, focal_gamma=1.0).sum())(noise)
    assert not grad.any()


@pytest.mark.parametrize("loss", [losses.gcl, losses.angular_gcl])
def test_balanced_counts_are_finite(loss):
    c, cloud = jnp.asarray(COSINE, jnp.float32), longtail.cloud_sizes(np.full(CLASSES, 50))
    value, grad = jax.value_and_grad(lambda c: loss(c, LABELS, NOISE, cloud, focal_gamma=1.0).sum())(c)
    assert np.isfinite(value)
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("easy", [True, False])
def test_angular_gradient_is_finite_at_the_ends_of_the_cosine(dtype, easy):
    with jax.enable_x64(dtype == "float64"):
        c = jnp.asarray(np.where(COSINE > 0, 1.0, -1.0), dtype)
        value, grad = jax.value_and_grad(lambda c: _angular(margin=0.1, easy_margin=easy)(c).sum())(c)
    assert np.isfinite(value)
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_huge_logits_are_finite(size, gamma):
    def loss(z):
        return losses.focal(losses.cross_entropy(z, jnp.array([0, 1])), gamma)

    z = jnp.array([[size, 0.0, -size], [size, -size, 0.0]], jnp.float32)  # one surely right, one surely wrong
    assert relative_error(loss(z), [0, 2 * size]) <= 1e-5
    assert np.isfinite(jax.grad(lambda z: loss(z).sum())(z)).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "loss",
    [
        lambda c: losses.ldam(c, LABELS, class_weights.ldam_margins(COUNTS)),
        lambda c: losses.logit_adjusted(c, LABELS, class_weights.log_priors(COUNTS)),
        lambda c: losses.label_aware_smoothing(c, LABELS, class_weights.smoothing_sizes(COUNTS, 0.3, 0.0)),
        lambda c: losses.gcl(c, LABELS, NOISE, longtail.cloud_sizes(COUNTS)),
        lambda c: losses.angular_gcl(c, LABELS, NOISE, longtail.cloud_sizes(COUNTS)),
    ],
    ids=["ldam", "logit_adjusted", "label_aware_smoothing", "gcl", "angular_gcl"],
)
def test_narrow_scores_lose_nothing_in_the_loss(loss, dtype):
    narrow = jnp.asarray(COSINE, dtype)
    assert loss(narrow).dtype == jnp.float32
    np.testing.assert_array_equal(loss(narrow), loss(narrow.astype(jnp.float32)))


def test_bfloat16_logits_are_reduced_in_float32():
    z = jnp.asarray(5 * COSINE, jnp.bfloat16)
    assert losses.cross_entropy(z, LABELS).dtype == jnp.float32
    assert relative_error(losses.cross_entropy(z, LABELS), ce(np.asarray(z, np.float64))) <= 1e-5


def test_weighted_mean_divides_by_the_weights():
    values, weights = np.random.default_rng(0).uniform(0.1, 3, (2, 20)).astype(np.float32)
    assert relative_error(losses.weighted_mean(values, weights), np.average(values, weights=weights)) <= 1e-6
    assert relative_error(losses.weighted_mean(values), values.mean(dtype=np.float64)) <= 1e-6


@pytest.mark.parametrize("weighting", ["plain", "weighted"])
def test_torch_cross_entropy(losses_contrastive, weighting):
    at = "torch/cross_entropy"
    logits, labels, weights = (jnp.asarray(losses_contrastive[f"{at}/{k}"]) for k in ("logits", "labels", "weights"))
    weight = weights[labels] if weighting == "weighted" else None
    value, grad = jax.value_and_grad(lambda z: losses.weighted_mean(losses.cross_entropy(z, labels), weight))(logits)
    assert relative_error(value, losses_contrastive[f"{at}/{weighting}/value"]) <= 1e-5
    assert relative_error(grad, losses_contrastive[f"{at}/{weighting}/grad_logits"]) <= 1e-5


NUM = 1_000_000


@pytest.fixture(scope="module")
def noise():
    return np.asarray(losses.gcl_noise(jax.random.key(0), (1000, 1000)), np.float64).ravel()


def within_chance(observed, expected, variance):
    """Whether the mean of NUM draws of this variance is as near as all but ERROR of such means are."""
    return abs(observed - expected) / (variance / NUM) ** 0.5 < scipy.stats.norm.isf(ERROR / 2)


def test_noise_has_mean_zero(noise):
    assert within_chance(noise.mean(), 0, 1 / 9)


def test_noise_has_standard_deviation_one_third(noise):
    assert within_chance((noise**2).mean(), 1 / 9, 2 / 81)


def test_clamped_noise_has_mean_size_0_266(noise):
    size = np.minimum(np.abs(noise), 1)
    beyond = 2 * scipy.stats.norm.sf(3)
    expected = (2 / np.pi) ** 0.5 / 3 * (1 - np.exp(-4.5)) + beyond
    assert round(expected, 3) == 0.266
    assert within_chance(size.mean(), expected, size.var())


def test_27_of_10_000_draws_reach_the_clamp(noise):
    assert scipy.stats.binomtest(int((np.abs(noise) > 1).sum()), NUM, 2 * scipy.stats.norm.sf(3)).pvalue > ERROR


def test_noise_is_fresh_for_every_example_class_and_key():
    first, other = (losses.gcl_noise(jax.random.key(k), (20, 10)) for k in (0, 1))
    assert len(np.unique([first, other])) == 400
