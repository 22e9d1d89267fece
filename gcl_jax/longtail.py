"""The field's vocabulary: imbalance profiles, long-tailed subsets, cloud sizes, shots.

Pure numpy on class counts; nothing here knows about images, models or config. Classes
are numbered as in the data set; `counts` is int64[C], the number of training images.
"""

import hashlib

import numpy as np

from gcl_jax.errors import UserError, require_one_of


def exponential_counts(num_max: float, num_classes: int, imbalance_ratio: float) -> np.ndarray:
    """Images kept per class, int64[C]: n_j = int(n_max * ratio^(-j / (C - 1))) (LDAM, CIFAR-LT).

    Raises UserError for fewer than two classes, a ratio below 1, or one that leaves a class empty.

    >>> exponential_counts(5000, 10, 100).tolist()
    [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """
    _check_profile(num_classes, imbalance_ratio)
    mu = 1 / imbalance_ratio
    # The exact expression of the published code: another order of operations truncates differently.
    return _none_empty([int(num_max * mu ** (j / (num_classes - 1.0))) for j in range(num_classes)], imbalance_ratio)


def step_counts(num_max: float, num_classes: int, imbalance_ratio: float) -> np.ndarray:
    """Images kept per class, int64[C]: the first C // 2 classes n_max, the others int(n_max / ratio).

    Raises UserError for fewer than two classes, a ratio below 1, or one that leaves a class empty.

    >>> step_counts(5000, 4, 100).tolist()
    [5000, 5000, 50, 50]
    """
    _check_profile(num_classes, imbalance_ratio)
    half = num_classes // 2
    tail = int(num_max * (1 / imbalance_ratio))
    return _none_empty([int(num_max)] * half + [tail] * (num_classes - half), imbalance_ratio)


PARETO_POWER = 6.0


def pareto_counts(num_max: float, num_classes: int, imbalance_ratio: float) -> np.ndarray:
    """Images kept per class, int64[C]: the quantiles of a Pareto tail of power 6, cut off at n_max and n_max / ratio.

    n_j = n_min + int((n_max - n_min) q_j / q_0) with q_j = ((j + 1) / C)^(-1/6) - 1, n_min = int(n_max / ratio).
    This is the form of ImageNet-LT (OLTR, Liu et al. 2019, drawn at random), by Pareto distribution in numpy's sense,
    which starts at 0: for 1,000 classes from 1280 to 5 it gives 404 / 456 / 140 many / medium / few and 121,449 images
    where ImageNet-LT has 385 / 479 / 136 and 115,846. One that starts at n_min would leave 5 images to half of the
    classes, 6,862 in all.

    Raises UserError for fewer than two classes, a ratio below 1, or one that leaves a class empty.

    >>> pareto_counts(1280, 10, 256).tolist()
    [1280, 843, 610, 454, 338, 247, 171, 108, 53, 5]
    """
    _check_profile(num_classes, imbalance_ratio)
    largest, smallest = int(num_max), int(num_max * (1 / imbalance_ratio))
    quantiles = [((j + 1) / num_classes) ** (-1 / PARETO_POWER) - 1 for j in range(num_classes)]
    return _none_empty([smallest + int((largest - smallest) * q / quantiles[0]) for q in quantiles], imbalance_ratio)


def _check_profile(num_classes, imbalance_ratio):
    if not imbalance_ratio >= 1:
        raise UserError(f"imbalance_ratio is {imbalance_ratio}; it is n_max / n_min, so it must be at least 1")
    if num_classes < 2:
        raise UserError(f"a long-tailed profile needs at least 2 classes, not {num_classes}")


def _none_empty(counts, imbalance_ratio):
    if min(counts) < 1:
        raise UserError(
            f"imbalance_ratio {imbalance_ratio:g} leaves class {counts.index(min(counts))} without an image, the "
            f"largest class having {counts[0]}: choose a smaller ratio, or --config.data.profile=none to train on the "
            "data as they are"
        )
    return np.array(counts, np.int64)


PROFILES = {"exponential": exponential_counts, "step": step_counts, "pareto": pareto_counts}


def class_counts(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Images per class, int64[C].

    >>> class_counts(np.array([0, 2, 2]), 3).tolist()
    [1, 0, 2]
    """
    return np.bincount(np.asarray(labels, np.int64), minlength=num_classes).astype(np.int64)


def select_long_tail(labels: np.ndarray, counts: np.ndarray, seed: int = 0) -> np.ndarray:
    """Positions of the long-tailed subset, int64[sum(counts)], class by class in the order drawn.

    The CIFAR-LT protocol (LDAM ``imbalance_cifar.py``): one legacy MT19937 stream shuffles
    each class's positions in turn and the first n_j are kept, so the subset is bit-exact.

    Raises UserError when a class has fewer images than ``counts`` asks for.

    >>> select_long_tail(np.array([0, 1, 0, 1, 0]), np.array([2, 1])).tolist()
    [4, 2, 1]
    """
    rng = np.random.RandomState(seed)
    kept = []
    for j, wanted in enumerate(counts):
        positions = np.where(labels == j)[0]
        _check_enough(j, len(positions), wanted)
        rng.shuffle(positions)
        kept.append(positions[:wanted])
    return np.concatenate(kept).astype(np.int64)


def take_first(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Positions of the first n_j images of each class in file order, int64[sum(counts)].

    For a pack that already holds a subset drawn by `select_long_tail`: its prefixes are
    the subsets of every larger ratio. Raises UserError as `select_long_tail` does.

    >>> take_first(np.array([0, 0, 0, 1, 1]), np.array([2, 1])).tolist()
    [0, 1, 3]
    """
    kept = []
    for j, wanted in enumerate(counts):
        positions = np.where(labels == j)[0]
        _check_enough(j, len(positions), wanted)
        kept.append(positions[:wanted])
    return np.concatenate(kept).astype(np.int64)


def _check_enough(j, have, wanted):
    if have < wanted:
        raise UserError(
            f"class {j} has {have} training images but the imbalance profile asks for {wanted}: choose a larger "
            f"data.imbalance_ratio or smaller counts, or --config.data.profile=none to train on the data as they are"
        )


def subset_sha256(positions: np.ndarray) -> str:
    """SHA-256 of the selected positions as little-endian int64, the subset's public name."""
    return hashlib.sha256(np.ascontiguousarray(positions, "<i8").tobytes()).hexdigest()


def hold_out(labels: np.ndarray, fraction: float, seed: int, *, at_least: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split positions by class into (kept, held out); every class keeps at least one image.

    Each class gives round(fraction * n_j) images, or ``at_least``, at most n_j - 1. Both parts stay in file order.
    Raises UserError for a fraction outside [0, 1).

    >>> kept, held = hold_out(np.array([0] * 10 + [1]), 0.2, seed=0)
    >>> len(kept), len(held)
    (9, 2)
    """
    if not 0 <= fraction < 1:
        raise UserError(f"data.validation_fraction is {fraction}; it must lie in [0, 1)")
    rng = np.random.RandomState(seed)
    held = np.zeros(len(labels), bool)
    for j in np.unique(labels):
        positions = rng.permutation(np.where(labels == j)[0])
        wanted = max(round(fraction * len(positions)), at_least)
        held[positions[: min(wanted, len(positions) - 1)]] = True
    return np.where(~held)[0], np.where(held)[0]


CLOUD_SIZES = ("log", "power", "cosine")


def require_images(counts: np.ndarray) -> np.ndarray:
    """``counts`` as float64[C], for the rules that divide by them; UserError naming the first class without an image.

    >>> require_images(np.array([3, 1])).tolist()
    [3.0, 1.0]
    """
    n = np.asarray(counts, np.float64)
    if (n < 1).any():
        raise UserError(f"class {int(np.argmax(n < 1))} has no training image: every class needs at least one")
    return n


def cloud_sizes(counts: np.ndarray, strategy: str = "log", exponent: float = 1 / 3) -> np.ndarray:
    """Normalized cloud size of each class, float64[C] in [0, 1] (GCL eq. 9 and Table 3).

    log:    delta_j = log n_max - log n_j
    power:  delta_j = n_max^e - n_j^e
    cosine: delta_j = cos(n_j / n_max * pi / 2)
    and the returned value is delta_j / delta_max; all zeros when the data are balanced,
    where delta_max = 0 and no class deserves a cloud. Raises UserError for an empty class, another
    strategy, or an exponent that is not positive.

    >>> cloud_sizes(np.array([100, 10, 1])).round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    n = require_images(counts)
    require_one_of("cloud_size", strategy, CLOUD_SIZES)
    if strategy == "log":
        delta = np.log(n.max()) - np.log(n)
    elif strategy == "power":
        if not exponent > 0:
            raise UserError(f"cloud_exponent is {exponent}; it must be positive")
        delta = n.max() ** exponent - n**exponent
    else:
        delta = np.where(n == n.max(), 0.0, np.cos(n / n.max() * np.pi / 2))  # cos(pi/2) is 6e-17, not 0
    largest = delta.max()
    return delta / largest if largest > 0 else np.zeros_like(delta)


def shot_groups(counts: np.ndarray, *, max_few: int = 19) -> dict[str, np.ndarray]:
    """Many (> 100 training images), medium (20..100) and few (< 20) as bool[C] masks.

    The rule of classifier-balancing's utils, used by most of the field; ``max_few`` = 20 is the other one in use,
    which counts classes of exactly 20 images to the few.

    >>> {k: v.tolist() for k, v in shot_groups(np.array([101, 100, 20, 19])).items()}
    {'many': [True, False, False, False], 'medium': [False, True, True, False], 'few': [False, False, False, True]}
    """
    counts = np.asarray(counts)
    return {"many": counts > 100, "medium": (counts > max_few) & (counts <= 100), "few": counts <= max_few}


# Fixed index ranges of MiSLAS on classes sorted by falling count: number of classes -> two cuts.
# The keys are its data sets: CIFAR-10, CIFAR-100, Places-LT, ImageNet-LT, iNaturalist 2018.
MISLAS_CUTS = {10: (3, 7), 100: (36, 71), 365: (131, 288), 1000: (390, 835), 8142: (842, 4543)}


def mislas_groups(counts: np.ndarray) -> dict[str, np.ndarray] | None:
    """MiSLAS's many/medium/few by index range, as bool[C]; None where it defines no ranges for C classes.

    >>> [int(m.sum()) for m in mislas_groups(np.arange(100, 0, -1)).values()]
    [36, 35, 29]
    """
    counts = np.asarray(counts)
    if len(counts) not in MISLAS_CUTS:
        return None
    first, second = MISLAS_CUTS[len(counts)]
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return {"many": rank < first, "medium": (rank >= first) & (rank < second), "few": rank >= second}
