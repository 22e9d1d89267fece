"""Class weights, smoothing sizes and priors against their formulas class by class, and in closed form."""

import math

import numpy as np
import pytest

from gcl_jax import class_weights, longtail
from gcl_jax.errors import UserError

COUNTS = np.array([500, 7, 120, 33, 1, 60])  # unsorted, with a class of one image
CASES = [COUNTS, longtail.exponential_counts(5000, 10, 100), longtail.exponential_counts(500, 100, 200)]
WEIGHTS = {
    "effective": class_weights.effective_number_weights,
    "effective_0.9": lambda counts: class_weights.effective_number_weights(counts, 0.9),
    "generalized": class_weights.generalized_weights,
    "generalized_0.3": lambda counts: class_weights.generalized_weights(counts, 0.3),
}


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.9999])
@pytest.mark.parametrize("counts", CASES, ids=len)
def test_effective_number_is_the_sum_of_the_geometric_series(counts, beta):
    inverse = [1 / math.fsum(beta**i for i in range(n)) for n in counts.tolist()]
    expected = [w * len(counts) / math.fsum(inverse) for w in inverse]
    np.testing.assert_allclose(class_weights.effective_number_weights(counts, beta), expected, rtol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.2, 1.0, 1.2])
@pytest.mark.parametrize("counts", CASES, ids=len)
def test_generalized_weights_are_powers_of_the_inverse_share(counts, rho):
    total = int(counts.sum())
    raw = [(total / n) ** rho for n in counts.tolist()]
    expected = [w * len(counts) / math.fsum(raw) for w in raw]
    np.testing.assert_allclose(class_weights.generalized_weights(counts, rho), expected, rtol=1e-12)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("counts", CASES, ids=len)
def test_weights_sum_to_the_number_of_classes_and_fall_with_the_count(name, counts):
    weights = WEIGHTS[name](counts)
    assert weights.dtype == np.float64
    assert weights.sum() == pytest.approx(len(counts), rel=1e-12)
    assert (np.diff(weights[np.argsort(counts, kind="stable")]) <= 1e-12).all()


@pytest.mark.parametrize("name", WEIGHTS)
def test_balanced_counts_weigh_one(name):
    np.testing.assert_allclose(WEIGHTS[name](np.full(7, 30)), 1, rtol=1e-12)


def test_weights_off():
    assert class_weights.effective_number_weights(COUNTS, 0.0).tolist() == [1] * 6
    assert class_weights.generalized_weights(COUNTS, 0.0).tolist() == [1] * 6


def test_effective_number_tends_to_inverse_frequency():
    inverse = class_weights.generalized_weights(COUNTS, 1.0)
    np.testing.assert_allclose(class_weights.effective_number_weights(COUNTS, 1 - 1e-8), inverse, rtol=1e-4)


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_impossible_beta_is_refused(beta):
    with pytest.raises(UserError, match=r"beta is .*\[0, 1\)"):
        class_weights.effective_number_weights(COUNTS, beta)


@pytest.mark.parametrize("rho", [-1.0, float("nan")])
def test_impossible_rho_is_refused(rho):
    with pytest.raises(UserError, match="rho is"):
        class_weights.generalized_weights(COUNTS, rho)


SHAPES = {  # name: (keywords, the share of head - tail at x)
    "concave": ({}, lambda x: math.sin(math.pi * x / 2)),
    "linear": ({"shape": "linear"}, lambda x: x),
    # In the paper's form, a sine of the third quarter added to the head's size.
    "convex": ({"shape": "convex"}, lambda x: 1 + math.sin(3 * math.pi / 2 + math.pi * x / 2)),
    "power2": ({"shape": "power"}, lambda x: x * x),
    "power0.5": ({"shape": "power", "exponent": 0.5}, math.sqrt),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("head", "tail"), [(0.3, 0.0), (0.4, 0.1), (0.1, 0.4)])
def test_smoothing_sizes_equal_the_formula(shape, head, tail):
    keywords, share = SHAPES[shape]
    expected = [tail + (head - tail) * share((n - 1) / 499) for n in COUNTS.tolist()]
    found = class_weights.smoothing_sizes(COUNTS, head, tail, **keywords)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_smoothing_ends_at_head_and_tail_exactly(shape):
    found = class_weights.smoothing_sizes(COUNTS, 0.4, 0.1, **SHAPES[shape][0])
    assert found[4] == 0.1  # the class of one image
    assert found[0] == pytest.approx(0.4, rel=1e-15)


def test_concave_lies_above_linear_above_convex():
    concave, linear, convex = (
        class_weights.smoothing_sizes(COUNTS, 0.3, 0.0, s) for s in ("concave", "linear", "convex")
    )
    inner = (COUNTS > 1) & (COUNTS < 500)
    assert (concave > linear)[inner].all()
    assert (linear > convex)[inner].all()


@pytest.mark.parametrize("shape", SHAPES)
def test_balanced_counts_are_smoothed_as_the_tail(shape):
    """0 / 0 otherwise, and nothing is left to tell head from tail."""
    assert class_weights.smoothing_sizes(np.full(5, 20), 0.3, 0.1, **SHAPES[shape][0]).tolist() == [0.1] * 5


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ({"head": 1.5, "tail": 0.0}, "head is 1.5"),
        ({"head": 0.3, "tail": -0.1}, "tail is -0.1"),
        ({"head": float("nan"), "tail": 0.0}, "head is nan"),
        ({"head": 0.3, "tail": 0.0, "shape": "concav"}, "did you mean 'concave'"),
        ({"head": 0.3, "tail": 0.0, "exponent": 0.0}, "exponent is 0.0"),
    ],
)
def test_impossible_smoothing_is_refused(sizes, match):
    with pytest.raises(UserError, match=match):
        class_weights.smoothing_sizes(COUNTS, **sizes)


def test_log_priors_are_the_logarithms_of_the_shares():
    expected = [math.log(n / 721) for n in COUNTS.tolist()]
    np.testing.assert_allclose(class_weights.log_priors(COUNTS), expected, rtol=1e-12)


EVERY = {
    **WEIGHTS,
    "smoothing": lambda n: class_weights.smoothing_sizes(n, 0.3, 0.0),
    "priors": class_weights.log_priors,
    "margins": class_weights.ldam_margins,
}


@pytest.mark.parametrize("name", EVERY)
def test_an_empty_class_is_refused_and_named(name):
    with pytest.raises(UserError, match="class 1 has no training image"):
        EVERY[name](np.array([5, 0, 3]))
