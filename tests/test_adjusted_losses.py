"""Losses with smoothing, priors or class weights inside, against numpy in float64: values, and gradients by central
differences; closed forms at the ends of their hyper-parameters.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_error
from test_losses import central_difference

from gcl_jax import class_weights, losses

BATCH, CLASSES = 12, 6
COUNTS = np.array([500, 7, 120, 33, 3, 60])
_random = np.random.default_rng(0)
LOGITS, LABELS = 3 * _random.normal(size=(BATCH, CLASSES)), _random.permutation(np.arange(BATCH) % CLASSES)
EPS = 0.1 + 0.3 * np.sin(np.pi * (COUNTS - 3) / (2 * 497))
PRIOR = COUNTS / COUNTS.sum()
WEIGHTS = class_weights.effective_number_weights(COUNTS, 0.99)


def log_p(z):
    z = np.asarray(z, np.float64)
    return z - z.max(1, keepdims=True) - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))


def ce(z):
    return np.array([-row[y] for row, y in zip(log_p(z), LABELS, strict=True)])


def cross_entropy_with(targets):
    """-sum_c t_ic log p_ic for soft targets [B, C]."""
    return lambda z: -(targets * log_p(z)).sum(1)


SMOOTH = np.array([[EPS[y] / CLASSES + (1 - EPS[y]) * (c == y) for c in range(CLASSES)] for y in LABELS])


def odds(z, tau):
    """-log of pi_y^tau e^z_y over sum_c pi_c^tau e^z_c, without logarithms of priors."""
    mass = PRIOR**tau * np.exp(z)
    return -np.log(mass[np.arange(BATCH), LABELS] / mass.sum(1))


def focal_with_weight_inside(z):
    loss = WEIGHTS[LABELS] * ce(z)
    return (1 - np.exp(-loss)) * loss


LOG_PRIOR = class_weights.log_priors(COUNTS)
CASES = {  # name: (ours, the same in numpy)
    "smoothing": (lambda z: losses.label_aware_smoothing(z, LABELS, EPS), cross_entropy_with(SMOOTH)),
    "logit_adjusted": (lambda z: losses.logit_adjusted(z, LABELS, LOG_PRIOR), lambda z: odds(z, 1.0)),
    "logit_adjusted_0.5": (lambda z: losses.logit_adjusted(z, LABELS, LOG_PRIOR, tau=0.5), lambda z: odds(z, 0.5)),
    "balanced_softmax": (lambda z: losses.logit_adjusted(z, LABELS, np.log(COUNTS)), lambda z: odds(z, 1.0)),
    "weighted_focal": (
        lambda z: losses.focal(jnp.asarray(WEIGHTS, z.dtype)[LABELS] * losses.cross_entropy(z, LABELS), 1.0),
        focal_with_weight_inside,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_value(case):
    ours, theirs = CASES[case]
    with jax.enable_x64(True):
        assert relative_error(ours(jnp.asarray(LOGITS)), theirs(LOGITS)) <= 1e-10
    value = ours(jnp.asarray(LOGITS, jnp.float32))
    assert (value.shape, value.dtype) == ((BATCH,), jnp.float32)
    assert relative_error(value, theirs(LOGITS)) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_gradient_equals_central_differences(case):
    ours, theirs = CASES[case]
    with jax.enable_x64(True):
        grad = jax.grad(lambda z: ours(z).sum())(jnp.asarray(LOGITS))
    assert relative_error(grad, central_difference(theirs, LOGITS)) <= 1e-6


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_huge_logits_are_finite(case, size):
    z = jnp.asarray(size * np.eye(BATCH, CLASSES), jnp.float32)
    value, grad = jax.value_and_grad(lambda z: CASES[case][0](z).sum())(z)
    assert np.isfinite(value)
    assert np.isfinite(grad).all()


def plain(z):
    return losses.cross_entropy(z, LABELS)


Z = jnp.asarray(LOGITS, jnp.float32)


def test_no_smoothing_is_the_cross_entropy():
    assert losses.label_aware_smoothing(Z, LABELS, np.zeros(CLASSES)).tolist() == plain(Z).tolist()


def test_full_smoothing_ignores_the_label():
    full = losses.label_aware_smoothing(Z, LABELS, np.ones(CLASSES))
    assert relative_error(full, -log_p(LOGITS).mean(1)) <= 1e-5
    assert full.tolist() == losses.label_aware_smoothing(Z, LABELS[::-1], np.ones(CLASSES)).tolist()


def test_smoothed_loss_is_least_at_the_smoothed_target():
    best = jnp.asarray(np.log(SMOOTH), jnp.float32)
    grad = jax.grad(lambda z: losses.label_aware_smoothing(z, LABELS, EPS).sum())(best)
    assert jnp.abs(grad).max() <= 1e-6


def test_smoothing_is_by_the_class_of_the_label():
    only_class_2 = np.where(np.arange(CLASSES) == 2, 0.3, 0.0)
    changed = losses.label_aware_smoothing(Z, LABELS, only_class_2) != plain(Z)
    assert changed.tolist() == (LABELS == 2).tolist()


def test_uniform_priors_are_the_cross_entropy():
    uniform = class_weights.log_priors(np.full(CLASSES, 30))
    adjusted, grad = jax.value_and_grad(lambda z: losses.logit_adjusted(z, LABELS, uniform).sum())(Z)
    value, expected = jax.value_and_grad(lambda z: plain(z).sum())(Z)
    assert relative_error(adjusted, value) <= 1e-6
    assert relative_error(grad, expected) <= 1e-6


def test_tau_zero_is_the_cross_entropy():
    assert losses.logit_adjusted(Z, LABELS, LOG_PRIOR, tau=0.0).tolist() == plain(Z).tolist()


def test_prior_as_logits_is_fitted_by_equal_scores():
    """At f = 0 the adjusted probabilities are the prior: -log pi_y."""
    found = losses.logit_adjusted(jnp.zeros((BATCH, CLASSES)), LABELS, LOG_PRIOR)
    assert relative_error(found, -np.log(PRIOR[LABELS])) <= 1e-6
