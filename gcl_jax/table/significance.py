"""What chance makes of a row and of the difference between two.

Differences are paired by seed: rows of one network and seed start from the same parameters.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats


def wilson(percent: float, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval, in percent, of an accuracy on so many test images, were they drawn anew.

    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), Wilson (1927). For a mean over
    seeds, too: they share their images, so that more seeds do not make it narrower.

    >>> low, high = wilson(50.0, 100)
    >>> round(low, 2), round(high, 2)
    (40.38, 59.62)
    """
    p, z = percent / 100, float(stats.norm.ppf(0.975))
    middle = p + z**2 / (2 * images)
    half = z * (p * (1 - p) / images + (z / (2 * images)) ** 2) ** 0.5
    return tuple(100 * (middle + sign * half) / (1 + z**2 / images) for sign in (-1, 1))


@dataclasses.dataclass(frozen=True)
class Difference:
    """Mean difference in points, its 95 % interval and the two-sided p: None without a spread over seeds."""

    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


def paired(a: Sequence[float], b: Sequence[float]) -> Difference:
    """a - b by Student's paired t over seeds; one seed, or the same difference in all, says nothing of chance.

    >>> found = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    >>> found.mean, round(found.low, 2), round(found.p, 3)
    (2.0, -0.48, 0.074)
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    mean = float(difference.mean())
    if len(difference) < 2 or difference.std(ddof=1) < 1e-9:  # accuracies are whole images: what is left is rounding
        return Difference(mean)
    test = stats.ttest_1samp(difference, 0.0)
    interval = test.confidence_interval()
    return Difference(mean, float(interval.low), float(interval.high), float(test.pvalue))


def all_pairs(rows: Mapping[str, Mapping[int, float]]) -> dict[tuple[str, str], Difference]:
    """`paired` of every two rows {name: {seed: value}} over the seeds that both have."""
    pairs = {}
    for (a, left), (b, right) in itertools.combinations(rows.items(), 2):
        common = [seed for seed in left if seed in right]
        if common:
            pairs[a, b] = paired([left[s] for s in common], [right[s] for s in common])
    return pairs
