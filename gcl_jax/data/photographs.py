"""What stands for the images of a split that are decoded only when a batch needs them."""

import abc
import hashlib

import numpy as np


class Photographs(abc.ABC):
    """N encoded images where uint8[N, size, size, 3] would stand: with a shape, a length and `photographs[positions]`.

    A kind of them has ``paths`` str[N], by which an image is known whatever holds its bytes; ``size``, the edge of the
    square that each becomes; and ``cure``, what to do about one that cannot be read.
    """

    paths: np.ndarray
    size: int
    cure: str

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the array that they stand for."""
        return len(self.paths), self.size, self.size, 3

    def __len__(self) -> int:
        return len(self.paths)

    @abc.abstractmethod
    def __getitem__(self, positions: np.ndarray) -> "Photographs":
        """Those at ``positions``, in that order."""

    @abc.abstractmethod
    def where(self, position: int) -> str:
        """For people: where an image is."""

    @abc.abstractmethod
    def encoded(self, position: int) -> bytes:
        """The bytes of one image; OSError, whose text is the reason, where they cannot be read."""

    @abc.abstractmethod
    def handles(self, positions: np.ndarray) -> np.ndarray:
        """What a pipeline carries for the images at ``positions``: bytes[n], or object[n] that are bytes."""

    @abc.abstractmethod
    def opened(self, handle):
        """The bytes of the image of a handle: a TensorFlow operation on string tensors without axes."""

    def identity(self) -> bytes:
        """Digest of names and size; not of pixels, which would mean to read everything."""
        digest = hashlib.sha256(str(self.size).encode())
        for path in self.paths.tolist():
            digest.update(path.encode() + b"\0")
        return digest.digest()
