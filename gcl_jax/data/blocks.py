"""Blocks: consecutive rows of an epoch's plan that one dispatch of the train step consumes."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

Tree = Any


def blocks(
    rows: Iterator[Tree], lengths: Sequence[int], size: int, sharding: Sharding, *, axis: int = 0
) -> Iterator[Tree]:
    """Stack ``lengths[0]``, then ``lengths[1]``, ... rows along ``axis``, each block filled up to ``size`` with zeros.

    All blocks thus have one shape, so that one program takes any number of rows.

    >>> one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    >>> [b.tolist() for b in blocks(iter(np.array([[1], [2], [3]])), [2, 1], 2, one)]
    [[[1], [2]], [[3], [0]]]
    """
    for length in lengths:
        taken = [next(rows) for _ in range(length)]

        def stack(*leaves, missing=size - length):
            stacked = np.stack(leaves, axis)
            return np.pad(stacked, [(0, missing if i == axis else 0) for i in range(stacked.ndim)])

        yield jax.device_put(jax.tree.map(stack, *taken), sharding)
