"""Class distributions of the samplers, and what their index plans really draw.

Draws are tested by chi-square at ERROR = 1e-6 each. With fewer than 100 such tests in this file the
family-wise error rate is below 1e-4, and seeds are fixed, so that a pass stays a pass.
"""

import functools
import json

import numpy as np
import pytest
import scipy.stats
from conftest import _shared

from gcl_jax import longtail, rng, sampling
from gcl_jax.errors import UserError

ERROR = 1e-6
C10 = longtail.exponential_counts(5000, 10, 100)
C100 = longtail.exponential_counts(500, 100, 100)
SMALL = np.array([40, 4, 25, 1, 12])  # unsorted, with a class of one image

OFFICIAL_CBEN = sampling.CBEN(a=0.9999, b=1e-5)
IN_CYCLES = {"class_aware": sampling.ClassAware(), "progressive": sampling.Progressive()}  # see test_cycle_samplers
WITH_REPLACEMENT = {
    "square_root": sampling.SquareRoot(),
    "class_balanced": sampling.ClassBalanced(),
    "reversed": sampling.Reversed(),
    "effective_number": sampling.EffectiveNumber(),
    "cben": sampling.CBEN(),
    "official_cben": OFFICIAL_CBEN,
}
ALL = {"instance": sampling.Instance(), **WITH_REPLACEMENT, **IN_CYCLES}


def effective_number_mass(n, beta):
    """n times (1 - beta) / (1 - beta^n), by the sum of the geometric series."""
    return n / sum(beta**i for i in range(n))


def cben_mass(counts, a, b):
    """Equations 11 and 12 in the order printed, class by class."""
    delta = [np.log(max(counts)) - np.log(n) for n in counts]
    spread = max(delta) - min(delta)
    betas = [b * (d - min(delta)) / spread + a for d in delta]
    return [effective_number_mass(int(n), beta) for n, beta in zip(counts, betas, strict=True)]


MASSES = {
    "instance": lambda counts: [float(n) for n in counts],
    "square_root": lambda counts: [n**0.5 for n in counts],
    "class_balanced": lambda counts: [1.0 for _ in counts],
    "reversed": lambda counts: [max(counts) / n for n in counts],
    "effective_number": lambda counts: [effective_number_mass(int(n), 0.9999) for n in counts],
    "cben": lambda counts: cben_mass(counts, 0.999, 0.0009),
    "official_cben": lambda counts: cben_mass(counts, 0.9999, 1e-5),
    "class_aware": lambda counts: [1.0 for _ in counts],
    "progressive": lambda counts: [float(n) for n in counts],  # in its first epoch
}


def shuffled_labels(counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)


def pooled(observed, expected):
    """Cells with five expected draws or more, and one for all the others: chi-square is an approximation."""
    rare = expected < 5
    if not rare.any():
        return observed, expected
    together = [np.append(cells[~rare], cells[rare].sum()) for cells in (observed, expected)]
    return together if together[1][-1] > 0 else (observed[~rare], expected[~rare])


def p_of_classes(indices, labels, probabilities):
    """Chi-square p value of the classes drawn."""
    observed = np.bincount(labels[indices], minlength=len(probabilities)).astype(float)
    return scipy.stats.chisquare(*pooled(observed, len(indices) * np.asarray(probabilities))).pvalue


def p_within_classes(indices, labels):
    """Chi-square p value of uniform images inside each class, given how often each class was drawn."""
    counts = np.bincount(labels)
    drawn = np.bincount(labels[indices], minlength=len(counts))
    expected = (drawn / counts)[labels]
    usable = expected >= 5
    observed = np.bincount(indices, minlength=len(labels)).astype(float)
    classes = len(np.unique(labels[usable]))
    # One degree of freedom less for each class, of which chisquare itself takes the first.
    return scipy.stats.chisquare(observed[usable], expected[usable], ddof=classes - 1).pvalue


def draw(sampler, labels, num, *names):
    return sampler.indices(functools.partial(rng.numpy_generator, 0, "test", *names), labels, num)


@pytest.mark.parametrize("name", MASSES)
@pytest.mark.parametrize("counts", [C10, C100, SMALL], ids=["cifar10", "cifar100", "small"])
def test_class_probabilities_equal_the_formula(name, counts):
    mass = np.array(MASSES[name](counts))
    np.testing.assert_allclose(ALL[name].class_probabilities(counts), mass / mass.sum(), rtol=1e-8)


def test_every_registered_sampler_is_tested():
    assert set(sampling.SAMPLERS.values()) <= {type(sampler) for sampler in ALL.values()}


def head_to_tail(sampler, counts):
    p = sampler.class_probabilities(counts)
    return p[0] / p[-1]


def test_cben_of_the_slides_on_cifar10():
    p = sampling.CBEN().class_probabilities(C10)
    assert (round(p[0], 3), round(p[-1], 3)) == (0.286, 0.057)


@pytest.mark.parametrize(
    ("sampler", "counts", "ratio"),
    [
        (sampling.CBEN(), C10, "5.02"),
        (OFFICIAL_CBEN, C10, "1.268"),
        (sampling.EffectiveNumber(), C10, "1.268"),
        (sampling.CBEN(), C100, "1.27"),
        (OFFICIAL_CBEN, C100, "1.025"),
        (sampling.Instance(), C10, "100"),
        (sampling.SquareRoot(), C10, "10"),
        (sampling.ClassBalanced(), C10, "1"),
        (sampling.Reversed(), C10, "0.01"),
    ],
)
def test_head_to_tail_ratio(sampler, counts, ratio):
    decimals = len(ratio.partition(".")[2])
    assert round(head_to_tail(sampler, counts), decimals) == float(ratio)


def test_official_cben_is_the_effective_number_to_three_digits():
    official, plain = OFFICIAL_CBEN, sampling.EffectiveNumber()
    assert round(head_to_tail(official, C10), 3) == round(head_to_tail(plain, C10), 3)
    np.testing.assert_allclose(official.class_probabilities(C10), plain.class_probabilities(C10), rtol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_balanced_counts_are_drawn_uniformly(name):
    np.testing.assert_allclose(ALL[name].class_probabilities(np.full(7, 30)), 1 / 7, rtol=1e-12)


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_impossible_beta_is_refused(beta):
    with pytest.raises(UserError, match="beta"):
        sampling.EffectiveNumber(beta=beta)


IMPOSSIBLE = [(0.999, 0.001), (0.5, 0.9), (0.1, -0.2), (1.0, 0.0), (-0.1, 0.5), (float("nan"), 0.0)]


@pytest.mark.parametrize(("a", "b"), IMPOSSIBLE)
def test_impossible_cben_range_is_refused(a, b):
    with pytest.raises(UserError, match=r"beta_j|^a is"):
        sampling.CBEN(a=a, b=b)


@pytest.mark.parametrize("name", WITH_REPLACEMENT)
def test_classes_are_drawn_as_promised(name):
    labels, sampler = shuffled_labels(C10), WITH_REPLACEMENT[name]
    indices = draw(sampler, labels, 200_000, name)
    assert p_of_classes(indices, labels, sampler.class_probabilities(C10)) > ERROR


@pytest.mark.parametrize("name", WITH_REPLACEMENT)
def test_images_of_a_class_are_drawn_uniformly(name):
    labels = shuffled_labels(SMALL)
    assert p_within_classes(draw(WITH_REPLACEMENT[name], labels, 200_000, name), labels) > ERROR


def test_first_image_of_an_instance_epoch_is_uniform():
    labels = shuffled_labels(SMALL)
    first = [draw(sampling.Instance(), labels, 1, epoch)[0] for epoch in range(5000)]
    assert scipy.stats.chisquare(np.bincount(first, minlength=len(labels))).pvalue > ERROR


@pytest.mark.parametrize("wrong", [name for name in WITH_REPLACEMENT if name != "cben"])
def test_chi_square_rejects_classes_of_a_wrong_sampler(wrong):
    labels = shuffled_labels(C10)
    indices = draw(WITH_REPLACEMENT[wrong], labels, 200_000, "wrong")
    assert p_of_classes(indices, labels, sampling.CBEN().class_probabilities(C10)) < ERROR


def test_chi_square_rejects_images_that_are_not_uniform():
    labels = shuffled_labels(SMALL)
    indices = draw(sampling.ClassBalanced(), labels, 200_000, "uneven")
    heads = np.flatnonzero(labels == 0)
    moved = np.where((indices == heads[0]) & (np.arange(len(indices)) % 4 == 0), heads[1], indices)
    assert p_within_classes(moved, labels) < ERROR


@pytest.fixture(scope="module")
def inaturalist():
    """Images of each of the 8,142 classes of iNaturalist 2018, classes unsorted."""
    return np.array(json.loads(_shared("data/lt-lists/iNaturalist18_train_cls_freq.json").read_text()))


def test_inaturalist_has_8142_classes(inaturalist):
    assert (len(inaturalist), inaturalist.sum()) == (8142, 437_513)


@pytest.mark.parametrize("name", WITH_REPLACEMENT)
def test_8142_classes_are_drawn_as_promised(inaturalist, name):
    labels, sampler = shuffled_labels(inaturalist), WITH_REPLACEMENT[name]
    indices = draw(sampler, labels, len(labels), name)
    assert p_of_classes(indices, labels, sampler.class_probabilities(inaturalist)) > ERROR


def test_images_of_8142_classes_are_drawn_uniformly(inaturalist):
    labels = shuffled_labels(inaturalist)
    assert p_within_classes(draw(sampling.ClassBalanced(), labels, 4_000_000), labels) > ERROR


@pytest.mark.parametrize("num", [1, 60, 82])
def test_instance_repeats_nothing_within_an_epoch(num):
    indices = draw(sampling.Instance(), shuffled_labels(SMALL), num)
    assert len(set(indices.tolist())) == num


def test_instance_epoch_is_a_permutation_of_all_images():
    assert sorted(draw(sampling.Instance(), shuffled_labels(SMALL), 82)) == list(range(82))


def test_instance_beyond_one_round_shows_every_image_once_more():
    """As a second stream it may have to be longer than the training set."""
    seen = np.bincount(draw(sampling.Instance(), shuffled_labels(SMALL), 200), minlength=82)
    assert (seen.min(), seen.max(), seen.sum()) == (2, 3, 200)


BASE = {"seed": 0, "stage": "representation", "stream": "main", "epoch": 0}
MAKE = functools.partial(rng.numpy_generator, 0, "test")


def plan(sampler, **where):
    at = BASE | where
    make = functools.partial(rng.numpy_generator, at["seed"], at["stage"], "plan", at["stream"])
    return sampling.epoch_plan(sampler, make, shuffled_labels(SMALL), 8, epoch=at["epoch"], epochs=3)


@pytest.mark.parametrize("name", ALL)
def test_plan_is_a_function_of_its_names(name):
    assert plan(ALL[name]).tolist() == plan(ALL[name]).tolist()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "change", [{"epoch": 1}, {"seed": 1}, {"stage": "classifier"}, {"stream": "reversed"}], ids=str
)
def test_plans_differ_by_every_name(name, change):
    assert plan(ALL[name]).tolist() != plan(ALL[name], **change).tolist()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("batch_size", "steps"), [(8, 10), (82, 1), (41, 2), (42, 1), (1, 82)])
def test_plan_has_whole_batches_and_drops_the_rest(name, batch_size, steps):
    drawn = sampling.epoch_plan(ALL[name], MAKE, shuffled_labels(SMALL), batch_size)
    assert (drawn.shape, drawn.dtype) == ((steps, batch_size), np.int32)
    assert drawn.min() >= 0
    assert drawn.max() < 82


@pytest.mark.parametrize("batch_size", [83, 0, -1])
def test_impossible_batch_is_refused_with_both_numbers(batch_size):
    with pytest.raises(UserError, match=rf"batch_size is {batch_size} but there are 82 training images"):
        sampling.epoch_plan(sampling.Instance(), MAKE, shuffled_labels(SMALL), batch_size)
