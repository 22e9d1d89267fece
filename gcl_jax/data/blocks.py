"""Blocks: consecutive rows of an epoch's plan that one dispatch of the train step consumes."""

from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from gcl_jax.typing import PyTree


def blocks(
    rows: Iterator[PyTree], lengths: Iterable[int], size: int, place: Callable[[PyTree], PyTree]
) -> Iterator[PyTree]:
    """Stack ``lengths[0]``, then ``lengths[1]``, ... rows, each block filled up to ``size`` with zeros; ``place`` it.

    All blocks thus have one shape, so that one program takes any number of rows.

    >>> [b.tolist() for b in blocks(iter(np.array([[1], [2], [3]])), [2, 1], 2, lambda block: block)]
    [[[1], [2]], [[3], [0]]]
    """
    for length in lengths:
        block_rows = [next(rows) for _ in range(length)]

        def stack(*leaves, missing=size - length):
            stacked = np.stack(leaves)
            return np.pad(stacked, [(0, missing if i == 0 else 0) for i in range(stacked.ndim)])

        yield place(jax.tree.map(stack, *block_rows))
