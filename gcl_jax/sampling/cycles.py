"""Endless shuffled cycles: each class shows all of its items in random order, then again in another order."""

import numpy as np
from jaxtyping import Integer

from gcl_jax.errors import UserError


def draw_from_cycles(
    generator: np.random.Generator,
    labels: Integer[np.ndarray, " N"],
    classes: Integer[np.ndarray, " num"],
    turns: Integer[np.ndarray, " num"],
) -> Integer[np.ndarray, " num"]:
    """The item of each draw, int64[num]: the one that class ``classes[i]`` shows at its turn ``turns[i]``.

    ``labels`` int[N] is the class of every item, ``classes`` int[num], ``turns`` int[num] counts a class's
    draws from 0 since training began. At turn t a class of n items shows number t mod n of its cycle t // n; a
    cycle is a permutation of the class's items that depends on ``generator`` and on the cycle's number alone, so
    any stretch of the endless stream can be made without what came before it. No loop: the time is that of
    sorting num + 2 N keys, whatever the number of classes and cycles.

    Raises UserError where a class drawn has no item.

    >>> letters = draw_from_cycles(np.random.default_rng(0), np.zeros(3, int), np.zeros(6, int), np.arange(6))
    >>> sorted(letters[:3].tolist()), sorted(letters[3:].tolist())
    ([0, 1, 2], [0, 1, 2])
    """
    counts = np.bincount(labels, minlength=classes.max() + 1)
    if not counts[classes].all():
        empty = classes[counts[classes] == 0][0]
        raise UserError(f"class {empty} has no training image: number the classes 0..C-1 without gaps")
    cycle, place = np.divmod(turns, counts[classes])
    # Each cycle that is touched once: (class, number), and which of them every draw reads.
    span = cycle.max() + 1
    touched, reads = np.unique(classes * span + cycle, return_inverse=True)
    owner, number = np.divmod(touched, span)
    # The items of the touched cycles one after the other, class by class, then each cycle's sorted by random keys.
    sizes = counts[owner]
    begins = np.cumsum(sizes) - sizes
    which = np.repeat(np.arange(len(touched)), sizes)
    by_class = np.argsort(labels, kind="stable")
    of_class = np.cumsum(counts) - counts
    items = by_class[(of_class[owner] - begins)[which] + np.arange(len(which))]
    keys = _random_keys(generator, items, number[which])
    return items[np.lexsort((keys, which))][begins[reads] + place]


def _random_keys(generator, items, numbers):
    """uint64 keys, a function of the generator, the item and the cycle's number (SplitMix64, Steele et al. 2014).

    A numpy generator gives a sequence and has to be made anew, at 20 microseconds, for each cycle; this is one
    pass over arrays.
    """
    salts = generator.integers(2**64, size=2, dtype=np.uint64)
    return _scramble(_scramble(items.astype(np.uint64) + salts[0]) ^ _scramble(numbers.astype(np.uint64) + salts[1]))


def _scramble(x):
    x = x * np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's counter step, modulo 2^64
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
