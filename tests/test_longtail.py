"""Imbalance profiles, subsets, hold-outs, cloud sizes and shot groups."""

import json

import numpy as np
import pytest
import scipy.stats
from conftest import _shared

from gcl_jax import longtail
from gcl_jax.data.dataset import Source, Split, cut
from gcl_jax.errors import UserError

CIFAR10_SIZE, CIFAR100_SIZE = (5000, 10), (500, 100)


@pytest.fixture(scope="module")
def labels():
    """50,000 labels of 10 classes in no order, as a published training set has them."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5000)).astype(np.int32)


def protocol(labels, counts, seed):
    """The CIFAR-LT protocol in the words of its publication, on numpy's global legacy generator."""
    before = np.random.get_state()
    np.random.seed(seed)
    chosen = []
    for j, n in enumerate(counts):
        idx = np.where(labels == j)[0]
        np.random.shuffle(idx)
        chosen.extend(idx[:n].tolist())
    np.random.set_state(before)
    return chosen


@pytest.mark.parametrize(
    ("size", "ratio", "total"),
    [
        (CIFAR10_SIZE, 200, 11203),
        (CIFAR10_SIZE, 100, 12406),
        (CIFAR10_SIZE, 50, 13996),
        (CIFAR10_SIZE, 10, 20431),
        (CIFAR100_SIZE, 200, 9502),
        (CIFAR100_SIZE, 100, 10847),
        (CIFAR100_SIZE, 50, 12608),
        (CIFAR100_SIZE, 10, 19573),
    ],
)
def test_exponential_total_is_the_published_one(size, ratio, total):
    assert longtail.exponential_counts(*size, ratio).sum() == total


@pytest.mark.parametrize("size", [CIFAR10_SIZE, CIFAR100_SIZE])
@pytest.mark.parametrize("ratio", [200, 100, 50, 20, 10, 1])
def test_exponential_counts_have_the_closed_form(size, ratio):
    num_max, num_classes = size
    exact = num_max * float(ratio) ** (-np.arange(num_classes) / (num_classes - 1))
    counts = longtail.exponential_counts(num_max, num_classes, ratio)
    # int() of a whole number may lose one to rounding: that is the published code's own.
    assert np.all((counts <= exact + 1e-9) & (counts > exact - 1 - 1e-9))


def test_exponential_counts_fall_from_the_largest_class():
    counts = longtail.exponential_counts(5000, 10, 100)
    assert (counts[0], counts[-1]) == (5000, 50)
    assert np.all(np.diff(counts) < 0)


def test_cifar100_ratio_200_has_two_images_in_its_rarest_class():
    assert longtail.exponential_counts(500, 100, 200)[-1] == 2


@pytest.mark.parametrize(("num_classes", "heads"), [(10, 5), (7, 3), (2, 1)])
def test_step_counts_have_the_closed_form(num_classes, heads):
    expected = [5000] * heads + [50] * (num_classes - heads)
    assert longtail.step_counts(5000, num_classes, 100).tolist() == expected


@pytest.mark.parametrize(("num_max", "num_classes", "ratio"), [(1280, 1000, 256), (500, 100, 100), (37.5, 7, 3.3)])
def test_pareto_counts_are_the_quantiles_of_a_pareto_distribution(num_max, num_classes, ratio):
    """scipy's Lomax distribution, which starts at 0, at the ranks; its ends are the profile's, and it falls between."""
    counts = longtail.pareto_counts(num_max, num_classes, ratio)
    assert (counts[0], counts[-1]) == (int(num_max), int(num_max / ratio))
    assert np.all(np.diff(counts) <= 0)
    quantiles = scipy.stats.lomax(6).isf(np.arange(1, num_classes + 1) / num_classes)
    exact = counts[-1] + (counts[0] - counts[-1]) * quantiles / quantiles[0]
    assert np.all((counts <= exact + 1e-9) & (counts > exact - 1 - 1e-9))


def test_pareto_counts_have_the_form_of_imagenet_lt():
    """Class by class in order of size within a factor of 1.3; an exponential profile is more than 2 times too large."""
    published = np.sort(json.loads(_shared("data/lt-lists/ImageNet_LT_train_cls_freq.json").read_text()))[::-1]
    counts = longtail.pareto_counts(1280, 1000, 256)
    assert (counts[0], counts[-1]) == (published[0], published[-1])
    assert abs(counts.sum() / published.sum() - 1) < 0.05
    assert np.abs(np.log(counts / published)).max() < np.log(1.3)
    assert (longtail.exponential_counts(1280, 1000, 256) / published).max() > 2


@pytest.mark.parametrize("profile", longtail.PROFILES)
def test_ratio_one_leaves_data_balanced(profile):
    assert longtail.PROFILES[profile](500, 100, 1).tolist() == [500] * 100


@pytest.mark.parametrize("profile", longtail.PROFILES)
@pytest.mark.parametrize("ratio", [0.5, 0, -10, float("nan"), 501, float("inf")])
def test_impossible_ratio_is_refused(profile, ratio):
    with pytest.raises(UserError, match="imbalance_ratio"):
        longtail.PROFILES[profile](500, 100, ratio)


@pytest.mark.parametrize("profile", longtail.PROFILES)
def test_one_class_is_refused(profile):
    with pytest.raises(UserError, match="at least 2 classes"):
        longtail.PROFILES[profile](500, 1, 10)


@pytest.mark.parametrize("profile", longtail.PROFILES)
def test_no_ratio_leaves_a_class_empty(profile):
    """At ratio = n_max the published expression gives 1, or 0 where n * (1 / n) rounds below 1: that is refused."""
    for n in range(2, 1001):
        if int(n * (1 / n)) == 0:
            with pytest.raises(UserError, match="leaves class"):
                longtail.PROFILES[profile](n, 3, n)
        else:
            assert longtail.PROFILES[profile](n, 3, n).min() == 1


@pytest.mark.parametrize("seed", [0, 7])
def test_subset_is_the_protocols(labels, seed):
    counts = longtail.exponential_counts(5000, 10, 100)
    assert longtail.select_long_tail(labels, counts, seed).tolist() == protocol(labels, counts, seed)


def test_subset_does_not_touch_the_global_generator(labels):
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    longtail.select_long_tail(labels, np.full(10, 5))
    assert np.random.random() == expected


def test_subset_refuses_more_images_than_there_are(labels):
    with pytest.raises(UserError, match=r"class 2 has 5000 training images but .* 5001"):
        longtail.select_long_tail(labels, np.array([1, 1, 5001, 1, 1, 1, 1, 1, 1, 1]))


def source(labels, positions=None):
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    names = tuple("abcdefghij")
    test = Split(images[:10], np.arange(10, dtype=np.int32))
    return Source("cifar10", Split(images, labels), test, names, positions)


@pytest.fixture(scope="module")
def pack(labels):
    """What a file with the subset of ratio 50 holds, in the order drawn."""
    positions = longtail.select_long_tail(labels, longtail.exponential_counts(5000, 10, 50))
    return source(labels[positions], positions)


@pytest.mark.parametrize("ratio", [50, 100, 200])
def test_prefixes_of_a_pack_are_the_subsets_of_larger_ratios(labels, pack, ratio):
    counts = longtail.exponential_counts(5000, 10, ratio)
    ours = pack.positions[longtail.take_first(pack.train.labels, counts)]
    assert longtail.subset_sha256(ours) == longtail.subset_sha256(longtail.select_long_tail(labels, counts))


@pytest.mark.parametrize("ratio", [50, 100, 200])
def test_a_pack_and_the_whole_set_are_cut_to_the_same_subset(labels, pack, ratio):
    from_pack = cut(pack, profile="exponential", imbalance_ratio=ratio)
    from_all = cut(source(labels), profile="exponential", imbalance_ratio=ratio)
    assert from_pack.describe()["subset_sha256"] == from_all.describe()["subset_sha256"]


def test_a_pack_refuses_a_smaller_ratio_and_names_the_class(pack):
    with pytest.raises(UserError, match=r"class 1 has 3237 training images but .* 3871"):
        longtail.take_first(pack.train.labels, longtail.exponential_counts(5000, 10, 10))


def test_hash_depends_on_order_but_not_on_integer_width():
    positions = np.array([3, 1, 2])
    assert longtail.subset_sha256(positions.astype(np.int32)) == longtail.subset_sha256(positions)
    assert longtail.subset_sha256(positions[::-1]) != longtail.subset_sha256(positions)


LONG_TAIL = np.repeat(np.arange(10), longtail.exponential_counts(500, 10, 500))


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.2, 0.5, 0.99])
def test_hold_out_parts_are_disjoint_and_complete(fraction):
    kept, held = longtail.hold_out(LONG_TAIL, fraction, seed=0)
    assert sorted([*kept, *held]) == list(range(len(LONG_TAIL)))


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.2, 0.5, 0.99])
def test_hold_out_leaves_every_class_an_image(fraction):
    kept, _ = longtail.hold_out(LONG_TAIL, fraction, seed=0)
    assert longtail.class_counts(LONG_TAIL[kept], 10).min() >= 1


def test_hold_out_takes_at_least_what_it_is_told_but_for_the_last_image():
    counts = longtail.class_counts(LONG_TAIL, 10)
    _, held = longtail.hold_out(LONG_TAIL, 0.2, seed=0, at_least=3)
    expected = np.minimum(np.maximum(np.round(0.2 * counts), 3), counts - 1)
    assert longtail.class_counts(LONG_TAIL[held], 10).tolist() == expected.tolist()
    assert expected.min() == 0


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.2, 0.5])
def test_hold_out_takes_the_fraction_of_every_class(fraction):
    counts = longtail.class_counts(LONG_TAIL, 10)
    held = longtail.class_counts(LONG_TAIL[longtail.hold_out(LONG_TAIL, fraction, seed=0)[1]], 10)
    assert np.all(np.abs(held - fraction * counts) <= 0.5)


def test_hold_out_is_a_function_of_the_seed():
    first, again, other = (longtail.hold_out(LONG_TAIL, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_impossible_hold_out_is_refused(fraction):
    with pytest.raises(UserError, match="validation_fraction"):
        longtail.hold_out(LONG_TAIL, fraction, seed=0)


COUNTS = np.array([64, 8, 27, 1])


@pytest.mark.parametrize(
    ("strategy", "exponent", "expected"),
    [
        ("log", 1 / 3, [0, 1 / 2, 1 - np.log(27) / np.log(64), 1]),
        ("power", 1 / 3, [0, 2 / 3, 1 / 3, 1]),
        ("power", 1 / 2, [0, (8 - 8**0.5) / 7, (8 - 27**0.5) / 7, 1]),
        ("power", 1 / 4, [0, (64**0.25 - 8**0.25) / (64**0.25 - 1), (64**0.25 - 27**0.25) / (64**0.25 - 1), 1]),
        ("cosine", 1 / 3, [0, *(np.cos(np.array([8, 27, 1]) * np.pi / 128) / np.cos(np.pi / 128))]),
    ],
)
def test_cloud_sizes_have_the_closed_form(strategy, exponent, expected):
    np.testing.assert_allclose(longtail.cloud_sizes(COUNTS, strategy, exponent), expected, rtol=1e-12, atol=1e-15)


def test_default_cloud_is_the_log_difference():
    assert longtail.cloud_sizes(COUNTS).tolist() == longtail.cloud_sizes(COUNTS, "log").tolist()


@pytest.mark.parametrize("strategy", ["log", "power", "cosine"])
@pytest.mark.parametrize("count", [1, 49, 5000])
def test_balanced_data_have_no_clouds(strategy, count):
    assert longtail.cloud_sizes(np.full(7, count), strategy).tolist() == [0.0] * 7


def test_unknown_cloud_strategy_is_refused():
    with pytest.raises(UserError, match=r"cloud_size is 'sine'.*log.*power.*cosine"):
        longtail.cloud_sizes(COUNTS, "sine")


@pytest.mark.parametrize("exponent", [0.0, -1.0, float("nan")])
def test_impossible_cloud_exponent_is_refused(exponent):
    with pytest.raises(UserError, match="cloud_exponent"):
        longtail.cloud_sizes(COUNTS, "power", exponent)


def test_cloud_of_an_empty_class_is_refused_and_the_class_named():
    with pytest.raises(UserError, match="class 1 has no training image"):
        longtail.cloud_sizes(np.array([5, 0, 2]))


@pytest.mark.parametrize(
    ("count", "group"), [(19, "few"), (20, "medium"), (100, "medium"), (101, "many"), (1, "few"), (5000, "many")]
)
def test_shot_group_of_a_count(count, group):
    assert [name for name, mask in longtail.shot_groups(np.array([count])).items() if mask[0]] == [group]


def test_cifar100_ratio_100_has_35_35_30_classes_by_count():
    groups = longtail.shot_groups(longtail.exponential_counts(500, 100, 100))
    assert {name: int(mask.sum()) for name, mask in groups.items()} == {"many": 35, "medium": 35, "few": 30}


@pytest.mark.parametrize(
    ("num_classes", "sizes"),
    [(10, [3, 4, 3]), (100, [36, 35, 29]), (365, [131, 157, 77]), (1000, [390, 445, 165]), (8142, [842, 3701, 3599])],
)
def test_mislas_ranges_of_its_data_sets(num_classes, sizes):
    groups = longtail.mislas_groups(np.arange(num_classes, 0, -1))
    assert [int(groups[name].sum()) for name in ("many", "medium", "few")] == sizes


def test_mislas_ranges_follow_the_counts_when_classes_are_unsorted():
    counts = np.array([50, 5000, 83, 2997, 139, 1796, 232, 1077, 387, 645])
    groups = longtail.mislas_groups(counts)
    assert {name: sorted(counts[mask].tolist()) for name, mask in groups.items()} == {
        "many": [1796, 2997, 5000],
        "medium": [232, 387, 645, 1077],
        "few": [50, 83, 139],
    }


def test_mislas_defines_no_ranges_for_other_numbers_of_classes():
    assert longtail.mislas_groups(np.arange(1, 12)) is None
