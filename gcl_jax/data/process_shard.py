"""The part of a batch that a process reads: the columns of the index plan that its devices hold.

Every process makes the whole plan and all random numbers, and reads and decodes only its part of the images.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Sharding

from gcl_jax.typing import PyTree


class ProcessShard:
    """Which entries of a batch this process reads, and the global array that all processes' entries make.

    The global array has the leading axes ``shape``, laid out by ``sharding``. One of them, ``steps`` (if not None),
    counts steps; the others are the entries of a batch, [B] or [seeds, B]. A process that holds all entries keeps these
    axes; otherwise its entries lie along one axis, whatever devices hold them.
    """

    def __init__(self, sharding: Sharding, shape: Sequence[int], steps: int | None = None):
        self._sharding, self._shape, self._steps = sharding, tuple(shape), steps
        self._whole = sharding.is_fully_addressable
        entries = self._entries(self._shape)
        self._rank = len(entries)
        numbers = np.arange(np.prod(entries)).reshape(entries)
        indices = sharding.addressable_devices_indices_map(self._shape).values()
        held = [numbers[self._entries(index)] for index in indices if index is not None]
        self._held = np.unique(np.concatenate([part.ravel() for part in held]))
        self._where = np.zeros(entries, int)  # entry -> its place among those held
        self._where.flat[self._held] = np.arange(len(self._held))

    def _entries(self, axes: tuple) -> tuple:
        return tuple(part for i, part in enumerate(axes) if i != self._steps)

    def take(self, array: np.ndarray, axis: int) -> np.ndarray:
        """This process's entries of ``array``, whose axes from ``axis`` on are those of a batch's entries.

        >>> sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        >>> ProcessShard(sharding, [2]).take(np.array([[1, 2], [3, 4]]), axis=1).tolist()
        [[1, 2], [3, 4]]
        """
        if self._whole:
            return array
        flat = array.reshape(*array.shape[:axis], -1, *array.shape[axis + self._rank :])
        return flat.take(self._held, axis)

    def place(self, tree: PyTree) -> PyTree:
        """Global arrays from the leaves [(steps,) entries, ...] that this process has read for its entries."""
        if self._whole:
            if axis := self._steps:
                tree = jax.tree.map(lambda leaf: np.moveaxis(leaf, 0, axis), tree)
            return jax.device_put(tree, self._sharding)
        return jax.tree.map(self._place, tree)

    def _place(self, leaf: np.ndarray) -> jax.Array:
        rows = leaf[None] if self._steps is None else leaf

        def shard(index):
            columns = rows[:, self._where[self._entries(index[: len(self._shape)])]]
            return columns[0] if self._steps is None else np.moveaxis(columns, 0, self._steps)

        shape = (*self._shape, *rows.shape[2:])
        return jax.make_array_from_callback(shape, self._sharding, shard)
