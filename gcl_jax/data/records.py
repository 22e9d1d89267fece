"""Images in records of a few large files, read at random."""

import dataclasses
import hashlib
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.errors import UserError
from gcl_jax.runtime import quiet_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


class Store(Protocol):
    """Records by index: array_record's data sources, or whatever reads like them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> bytes: ...

    def __getitems__(self, indices: Sequence[int], /) -> Sequence[bytes]: ...


@dataclasses.dataclass(frozen=True)
class Records(EncodedImages):
    """Photographs by their places int64[N] in ``store``, which is read by index and for many indices at once.

    A record is the bytes of an image, or, where ``feature`` is not "", a tf.train.Example with the bytes in that
    feature. ``root`` names the store in messages. ``change`` says how the images differ from the files of the same
    names ("" = not): `legacy_digest` needs it, for it does not cover the bytes.

    >>> names = np.array(["a/1.jpg", "b/2.jpg"])
    >>> records = Records([b"one", b"two"], names, np.array([0, 1]), 64, "pack", "pack again")
    >>> records[np.array([1])].encoded(0), records.where(0)
    (b'two', 'a/1.jpg of pack')
    """

    store: Store
    paths: np.ndarray
    places: np.ndarray
    size: int
    root: str
    hint: str
    change: str = ""
    feature: str = ""
    digests: np.ndarray | None = None

    def __getitem__(self, positions: np.ndarray) -> "Records":
        digests = None if self.digests is None else self.digests[positions]
        return dataclasses.replace(self, paths=self.paths[positions], places=self.places[positions], digests=digests)

    def with_digests(self, digests: np.ndarray) -> "Records":
        """As the base class says."""
        return dataclasses.replace(self, digests=digests)

    def where(self, position: int) -> str:
        """The name of an image and of its store."""
        return f"{self.paths[position]} of {self.root}"

    def encoded(self, position: int) -> bytes:
        """The image in a record; OSError where it cannot be read or its checksum is wrong."""
        try:
            record = self.store[int(self.places[position])]
        except (RuntimeError, ValueError) as error:  # the former are ArrayRecord's for all that happens in its files
            raise OSError(str(error).splitlines()[0]) from error
        return value(record, self.feature) if self.feature else record

    def handles(self, positions: np.ndarray) -> np.ndarray:
        """The records themselves, read together."""
        handles = np.empty(len(positions), object)
        handles[:] = self.store.__getitems__(self.places[positions].tolist())
        return handles

    def opened(self, handle: "tf.Tensor") -> "tf.Tensor":
        """The record is there already; of an Example, its image."""
        if not self.feature:
            return handle
        tf = quiet_tensorflow.load()
        return tf.io.parse_single_example(handle, {self.feature: tf.io.FixedLenFeature([], tf.string)})[self.feature]

    def legacy_digest(self) -> bytes:
        """Digest of names, size and ``change``: equal to that of the files which were copied without change."""
        names = super().legacy_digest()
        return hashlib.sha256(names + self.change.encode()).digest() if self.change else names


def value(record: bytes, feature: str) -> bytes:
    """The first bytes that a serialized tf.train.Example has in ``feature``."""
    tf = quiet_tensorflow.load()
    return tf.train.Example.FromString(record).features.feature[feature].bytes_list.value[0]


def open_shards(files: Sequence[tuple[str, int]]) -> Store:
    """One store of ArrayRecord files, given as (path, number of records); each is opened when it is first read.

    Raises UserError where array_record is not installed.
    """
    # With known numbers no file is opened at the start. Paths are not passed as text, in which [0:n] means a part.
    shards = [_Shard(path, 0, n, n) for path, n in files]
    return array_record().array_record_data_source.ArrayRecordDataSource(shards)


@dataclasses.dataclass(frozen=True)
class _Shard:
    """A file and which of its records to read, as ArrayRecord's protocol FileInstruction wants it."""

    filename: str
    skip: int
    take: int
    examples_in_shard: int


def array_record() -> types.ModuleType:
    """The package array_record.python; UserError where it is not installed."""
    try:
        import array_record.python
        import array_record.python.array_record_data_source
    except ImportError as error:
        raise UserError("packed photographs need array_record: pip install 'gcl_jax[photos,tf]'") from error
    return array_record.python
