"""Class-aware and progressive sampling: the rules of their shuffled cycles, and chance in their orders.

Chi-square tests stand at ERROR = 1e-6 each. With fewer than 50 of them in this file the family-wise error rate is
below 1e-4, and seeds are fixed, so that a pass stays a pass.
"""

import functools
import itertools
import json

import numpy as np
import pytest
import scipy.stats
from conftest import Family, _shared
from test_sampling import C10, SMALL, p_of_classes, shuffled_labels

from gcl_jax import rng, sampling
from gcl_jax.errors import UserError
from gcl_jax.sampling.cycles import draw_from_cycles

ERROR = 1e-6


def make(*names):
    return functools.partial(rng.numpy_generator, 0, "test", *names)


def epochs_of(sampler, labels, num, epochs, *names):
    """The stream of all epochs, each made by itself."""
    return np.concatenate([sampler.indices(make(*names), labels, num, epoch=e, epochs=epochs) for e in range(epochs)])


def repeats_within_cycles(stream, labels, before=0):
    """Classes that show an image twice in one cycle, having been drawn ``before`` times (a number, or one a class)."""
    stream, counts = np.asarray(stream, np.int64), np.bincount(labels)
    drawn = labels[stream]
    order = np.argsort(drawn, kind="stable")
    begins = np.searchsorted(drawn[order], np.arange(len(counts)))
    of_class = drawn[order]
    turns = np.arange(len(stream)) - begins[of_class] + np.broadcast_to(before, len(counts))[of_class]
    cycle = turns // counts[of_class]
    shown, times = np.unique(np.stack([stream[order], cycle]), axis=1, return_counts=True)
    return np.unique(labels[shown[0, times > 1]]).tolist()


def broken_rules(stream, labels, per_class, inner=True):
    """Which rules of a class-aware stream, from its first block on, do not hold."""
    classes, num_classes = labels[stream], labels.max() + 1
    broken = []
    whole = classes[: len(classes) // per_class * per_class].reshape(-1, per_class)
    rest = classes[whole.size :]
    if (whole != whole[:, :1]).any() or (rest != rest[:1]).any():
        broken.append("a block holds one class")
    blocks = np.append(whole[:, 0], rest[:1])
    for start in range(0, len(blocks), num_classes):
        if len(set(blocks[start : start + num_classes].tolist())) != len(blocks[start : start + num_classes]):
            broken.append("C blocks hold each class once")
            break
    if inner and repeats_within_cycles(stream, labels):
        broken.append("each image once in a cycle of its class")
    return broken


@pytest.mark.parametrize("per_class", [1, 3, 4])
@pytest.mark.parametrize("num", [80, 82, 7])
def test_class_aware_rules_hold_over_the_epochs(num, per_class):
    labels = shuffled_labels(SMALL)
    stream = epochs_of(sampling.ClassAware(per_class), labels, num, 9)
    assert broken_rules(stream, labels, per_class) == []
    drawn = np.bincount(labels[stream], minlength=5)
    assert drawn.max() - drawn.min() <= per_class


def test_rules_can_be_broken():
    labels = shuffled_labels(SMALL)
    stream = epochs_of(sampling.ClassAware(), labels, 80, 9)
    swapped = stream.copy()
    swapped[[0, 4]] = swapped[[4, 0]]
    assert broken_rules(swapped, labels, 4) == ["a block holds one class"]
    assert "C blocks hold each class once" in broken_rules(np.concatenate([stream[:4], stream]), labels, 4)
    # Cycles that begin anew with each epoch.
    anew = np.concatenate([sampling.ClassAware().indices(make(e), labels, 80) for e in range(9)])
    assert broken_rules(anew, labels, 4) == ["each image once in a cycle of its class"]


@pytest.mark.parametrize("num", [80, 82, 7])
def test_class_aware_epochs_are_stretches_of_one_stream(num):
    labels = shuffled_labels(SMALL)
    whole = sampling.ClassAware().indices(make(), labels, 9 * num)
    assert epochs_of(sampling.ClassAware(), labels, num, 9).tolist() == whole.tolist()


@pytest.mark.parametrize("per_class", [0, -4])
def test_impossible_block_is_refused(per_class):
    with pytest.raises(UserError, match=f"per_class is {per_class}"):
        sampling.ClassAware(per_class)


@pytest.mark.parametrize("sampler", [sampling.ClassAware(), sampling.Progressive()], ids=lambda s: type(s).__name__)
def test_class_without_images_is_refused(sampler):
    with pytest.raises(UserError, match="class 1 has no training image"):
        sampler.indices(make(), np.array([0, 0, 2, 2] * 5), 20, epoch=1, epochs=2)


DRAWN = [
    sampling.SquareRoot(),
    sampling.ClassBalanced(),
    sampling.Reversed(),
    sampling.EffectiveNumber(),
    sampling.CBEN(),
]


@pytest.mark.parametrize("sampler", DRAWN, ids=lambda s: type(s).__name__)
def test_class_without_images_has_no_probability(sampler):
    with pytest.raises(UserError, match="class 1 has no training image"):
        sampler.class_probabilities(np.array([5, 0, 2]))


def permutations(num_cycles, labels, group, *names):
    """Which of the n! orders each of the first cycles of a class has."""
    items = np.flatnonzero(labels == group)
    turns = np.arange(num_cycles * len(items))
    drawn = draw_from_cycles(make(*names)(), labels, np.full(len(turns), group), turns).reshape(num_cycles, -1)
    number = {order: i for i, order in enumerate(itertools.permutations(items.tolist()))}
    return np.array([number[tuple(row)] for row in drawn.tolist()]), len(number)


THREES = np.array([0, 1, 0, 2, 1, 0, 1])  # two classes of three and one of one


def p_uniform(codes, cells):
    return scipy.stats.chisquare(np.bincount(codes, minlength=cells)).pvalue


def test_orders_of_cycles_are_uniform_and_independent():
    first, cells = permutations(20_000, THREES, 0)
    other, _ = permutations(20_000, THREES, 1)
    assert p_uniform(first, cells) > ERROR
    assert p_uniform(first[:-1] * cells + first[1:], cells**2) > ERROR  # of successive cycles
    assert p_uniform(first[:-2] * cells + first[2:], cells**2) > ERROR
    assert p_uniform(first * cells + other, cells**2) > ERROR  # of two classes in the same cycle


def test_orders_of_a_larger_class_are_uniform():
    codes, cells = permutations(20_000, np.zeros(5, int), 0)
    assert cells == 120
    assert p_uniform(codes, cells) > ERROR


def test_orders_are_uniform_over_seeds():
    codes = [permutations(1, THREES, 0, seed)[0][0] for seed in range(3000)]
    assert p_uniform(np.array(codes), 6) > ERROR


def test_chi_square_rejects_orders_that_are_not_uniform():
    codes, cells = permutations(20_000, THREES, 0)
    codes[(codes == 0) & (np.arange(20_000) % 4 == 0)] = 1
    assert p_uniform(codes, cells) < ERROR


def test_class_order_is_uniform():
    stream = sampling.ClassAware(2).indices(make(), THREES, 60_000)
    blocks = THREES[stream].reshape(-1, 3, 2)[:, :, 0]
    number = {order: i for i, order in enumerate(itertools.permutations(range(3)))}
    codes = np.array([number[tuple(row)] for row in blocks.tolist()])
    assert p_uniform(codes, 6) > ERROR
    assert p_uniform(codes[:-1] * 6 + codes[1:], 36) > ERROR


EPOCHS = 5


@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_progressive_probabilities_go_from_instance_to_class_balanced(epoch):
    found = sampling.Progressive().class_probabilities(SMALL, epoch=epoch, epochs=EPOCHS)
    expected = [(1 - epoch / 4) * n / 82 + epoch / 4 / 5 for n in SMALL.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_progressive_classes_are_drawn_as_promised(epoch):
    labels, sampler = shuffled_labels(C10), sampling.Progressive()
    indices = sampler.indices(make(), labels, 200_000, epoch=epoch, epochs=EPOCHS)
    assert p_of_classes(indices, labels, sampler.class_probabilities(C10, epoch=epoch, epochs=EPOCHS)) > ERROR


def test_chi_square_rejects_the_next_progressive_epoch():
    labels, sampler = shuffled_labels(C10), sampling.Progressive()
    indices = sampler.indices(make(), labels, 200_000, epoch=1, epochs=EPOCHS)
    assert p_of_classes(indices, labels, sampler.class_probabilities(C10, epoch=2, epochs=EPOCHS)) < ERROR


@pytest.mark.parametrize("place", [0, 40, 79])
def test_progressive_class_is_as_promised_at_every_place(place):
    labels, sampler = shuffled_labels(SMALL), sampling.Progressive()
    drawn = [sampler.indices(make(seed), labels, 80, epoch=1, epochs=3)[place] for seed in range(3000)]
    assert p_of_classes(np.array(drawn), labels, sampler.class_probabilities(SMALL, epoch=1, epochs=3)) > ERROR


def test_progressive_cycles_go_on_over_the_epochs():
    labels = shuffled_labels(SMALL)
    stream = epochs_of(sampling.Progressive(), labels, 80, 12)
    assert repeats_within_cycles(stream, labels) == []
    anew = np.concatenate([sampling.Progressive().indices(make(e), labels, 80, epoch=e, epochs=12) for e in range(12)])
    assert repeats_within_cycles(anew, labels) != []


@pytest.fixture(scope="module")
def inaturalist():
    """A label for each image of iNaturalist 2018: 8,142 classes."""
    return shuffled_labels(np.array(json.loads(_shared("data/lt-lists/iNaturalist18_train_cls_freq.json").read_text())))


@pytest.mark.parametrize("epoch", [0, 29])
def test_class_aware_with_8142_classes(inaturalist, epoch):
    num = len(inaturalist) // 512 * 512
    stream = sampling.ClassAware().indices(make(), inaturalist, num, epoch=epoch)
    into = -epoch * num // 4 % 8142  # blocks to the next cycle over the classes; num is a multiple of 4
    assert broken_rules(stream[4 * into :], inaturalist, 4, inner=epoch == 0) == []


def test_progressive_with_8142_classes(inaturalist):
    counts, sampler = np.bincount(inaturalist), sampling.Progressive()
    stream = sampler.indices(make(), inaturalist, len(inaturalist), epoch=45, epochs=90)
    assert p_of_classes(stream, inaturalist, sampler.class_probabilities(counts, epoch=45, epochs=90)) > ERROR


def sorted_counts(indices, labels):
    return sorted(np.bincount(labels[np.asarray(indices, np.int64)], minlength=labels.max() + 1).tolist())


def test_decouplings_class_aware_stream(oltr_decoupling):
    """Its random numbers are Python's, so ours share its rules and counts, not its images."""
    family = Family(oltr_decoupling, "dec/class_aware/cifar10/")
    parts = [family[k] for k in ("indices_full_pass", "indices_next_training_epoch", "indices_first_block_after")]
    theirs, labels = np.concatenate(parts).astype(np.int64), np.repeat(np.arange(10), C10)
    ours = sampling.ClassAware().indices(make(), labels, len(theirs))
    assert broken_rules(theirs, labels, 4) == broken_rules(ours, labels, 4) == []
    assert len(parts[0]) == family["len"] == C10.max() * 10
    assert np.bincount(labels[ours[:50_000]]).tolist() == family["class_counts_full_pass"].tolist()
    assert sorted_counts(ours[50_000:-4], labels) == sorted(family["class_counts_training_epoch"].tolist())
    steps = sampling.steps_per_epoch(int(family["dataset_size"]), 128)
    assert steps == family["steps_per_epoch_batch128"]
    assert len(parts[1]) == steps * 128
    assert family.unread() == {"python_random_seed"}


def test_mislas_class_aware_stream(mislas_disalign):
    family = Family(mislas_disalign, "mislas/sampler/")
    labels, per_class = family["targets"].astype(np.int64), int(family["num_samples_cls"])
    sampler = sampling.ClassAware(per_class)
    theirs = family["first_epoch_indices"]
    ours = sampler.indices(make(), labels, len(theirs))
    assert broken_rules(theirs, labels, per_class) == broken_rules(ours, labels, per_class) == []
    for rule in (
        "blocks_of_4_single_class",
        "each_10_blocks_hold_each_class_once",
        "within_class_each_image_once_per_cycle",
    ):
        assert family[rule] == 1
    assert sorted_counts(ours, labels) == family["first_epoch_class_counts_sorted"].tolist()
    uses = np.bincount(ours, minlength=len(labels))
    least_most = [[uses[labels == j].min(), uses[labels == j].max()] for j in range(10)]
    assert least_most == family["first_epoch_uses_per_image_min_max"].tolist()

    num = int(family["len"])
    assert (
        np.bincount(labels[sampler.indices(make(), labels, num)]).tolist() == family["full_pass_class_counts"].tolist()
    )
    # Their second epoch goes on where the first stopped, one batch of 128 later that was drawn and thrown away: after
    # 3,168 blocks, the eighth of the 317th cycle over the classes.
    second = family["second_pass_indices_head"]
    assert broken_rules(second[2 * 4 :], labels, 4, inner=False) == []
    still_to_come = np.isin(np.arange(10), labels[second[: 2 * 4]])
    before = 4 * np.where(still_to_come, 316, 317)
    assert repeats_within_cycles(second, labels, before) == []
    assert repeats_within_cycles(second, labels, before + 1) != []

    tiny, small = family["tiny_indices"], np.repeat(np.arange(3), [9, 2, 1])
    ours = sampler.indices(make(), small, int(family["tiny_len"]))
    assert broken_rules(tiny, small, 4) == broken_rules(ours, small, 4) == []
    assert sorted_counts(ours, small) == sorted_counts(tiny, small)

    # Lengths of an epoch: ours is N // B in both stages (README); theirs rounds up, one more in stage 2.
    for total, batch, drawn, stage1, stage2 in family["steps__N_B_samplerlen_stage1_stage2"].tolist():
        whole = sampling.steps_per_epoch(total, batch)
        assert (stage1, stage2) == (whole + (total % batch > 0), min(stage1 + 1, -(-drawn // batch)))
    assert not family.unread()
