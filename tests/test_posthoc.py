"""Post-hoc rules against numpy row by row in float64, and in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_error
from tau_norm import tau_norm

from gcl_jax import posthoc
from gcl_jax.errors import UserError
from gcl_jax.vectors import normalize

BATCH, DIM, CLASSES = 20, 8, 5
_random = np.random.default_rng(0)
FEATURES = np.abs(_random.normal(size=(BATCH, DIM))) + 1.0  # as after a ReLU: far from the origin
KERNEL = _random.normal(size=(DIM, CLASSES)) * np.array([5.0, 2.0, 1.0, 0.5, 0.1])  # norms fall, as in a long tail
LABELS = np.arange(BATCH) % 4  # class 4 has no example
COUNTS = np.array([50, 20, 7, 3, 1])
F, W = jnp.asarray(FEATURES, jnp.float32), jnp.asarray(KERNEL, jnp.float32)


def norm(v):
    return sum(float(x) ** 2 for x in v) ** 0.5


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0, 2.0])
def test_tau_normalization(tau):
    columns = [w / norm(w) ** tau for w in KERNEL.T]
    assert relative_error(posthoc.tau_normalize(W, tau), np.stack(columns, axis=1)) <= 1e-5
    expected = [[float(f @ w) for w in columns] for f in FEATURES]
    assert relative_error(tau_norm(F, W, tau, bias=jnp.ones(CLASSES)), expected) <= 1e-5
    cosines = [[7.0 * float(f @ w) / norm(f) for w in columns] for f in FEATURES]
    assert relative_error(tau_norm(F, W, tau, scale=7.0), cosines) <= 1e-5


def test_tau_zero_is_the_kernel_itself():
    assert posthoc.tau_normalize(W, 0.0).tolist() == W.tolist()


def test_tau_one_makes_unit_columns_and_the_cosine_head_as_trained():
    np.testing.assert_allclose(jnp.linalg.norm(posthoc.tau_normalize(W, 1.0), axis=0), 1, rtol=1e-6)
    as_trained = normalize(F, axis=1) @ normalize(W, axis=0)
    assert relative_error(tau_norm(F, W, 1.0), as_trained) <= 1e-6


def test_column_of_zeros_stays_zero():
    kernel = W.at[:, 2].set(0)
    for tau in (0.0, 0.5, 1.0):
        assert not posthoc.tau_normalize(kernel, tau)[:, 2].any()


def test_a_grid_of_tau_compiles_once():
    traces = []

    @jax.jit
    def logits(tau):
        traces.append(tau)
        return F @ posthoc.tau_normalize(W, tau)

    for tau in np.linspace(0, 2, 21):
        assert relative_error(logits(tau), F @ posthoc.tau_normalize(W, float(tau))) <= 1e-5
    assert len(traces) == 1


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_logit_adjustment_subtracts_the_log_prior(tau):
    z = _random.normal(size=(BATCH, CLASSES))
    expected = [[z[i, j] - tau * np.log(COUNTS[j] / 81) for j in range(CLASSES)] for i in range(BATCH)]
    found = posthoc.logit_adjust(jnp.asarray(z, jnp.float32), jnp.asarray(COUNTS, jnp.float32), tau)
    assert relative_error(found, expected) <= 1e-5


def test_logit_adjustment_off_and_on_balanced_counts():
    z = jnp.asarray(_random.normal(size=(BATCH, CLASSES)), jnp.float32)
    assert posthoc.logit_adjust(z, jnp.asarray(COUNTS, jnp.float32), 0.0).tolist() == z.tolist()
    balanced = posthoc.logit_adjust(z, jnp.full(CLASSES, 9.0))
    assert relative_error(jax.nn.log_softmax(balanced), jax.nn.log_softmax(z)) <= 1e-6


def as_compared(x, variant):
    moved = x - FEATURES.mean(0) if variant == "cl2n" else x
    return moved if variant == "un" else moved / norm(moved)


@pytest.mark.parametrize("variant", posthoc.NEAREST_MEAN_VARIANTS)
def test_nearest_class_mean(variant):
    train = np.stack([as_compared(x, variant) for x in FEATURES])
    means = np.stack([*(train[j::4].mean(0) for j in range(4)), np.zeros(DIM)])
    test = FEATURES[::-1] + 0.1
    expected = [[-(norm(as_compared(x, variant) - m) ** 2) for m in means] for x in test]

    mean = jnp.mean(F, axis=0)
    centroids = posthoc.class_centroids(posthoc.nearest_mean_features(F, mean, variant), jnp.asarray(LABELS), CLASSES)
    assert relative_error(centroids, means) <= 1e-5
    features = posthoc.nearest_mean_features(jnp.asarray(test, jnp.float32), mean, variant)
    assert relative_error(posthoc.nearest_mean_scores(features, centroids), expected) <= 1e-5


def test_variant_is_cl2n_by_default():
    mean = jnp.mean(F, axis=0)
    default, named = posthoc.nearest_mean_features(F, mean), posthoc.nearest_mean_features(F, mean, "cl2n")
    assert default.tolist() == named.tolist()


def test_unknown_variant_is_refused_and_named():
    with pytest.raises(UserError, match=r"nearest-mean variant is 'l2'.*choose one of un, l2n, cl2n"):
        posthoc.nearest_mean_features(F, jnp.mean(F, axis=0), "l2")


def test_distances_far_from_the_origin_keep_their_digits():
    far = FEATURES + 1000.0
    expected = ((far[:, None] - far[None, :5]) ** 2).sum(-1)
    found = posthoc.nearest_mean_scores(jnp.asarray(far, jnp.float32), jnp.asarray(far[:5], jnp.float32))
    assert relative_error(found, -expected) <= 1e-3  # the inputs themselves are rounded to 6e-5
    assert found[:5].argmax(1).tolist() == [0, 1, 2, 3, 4]
