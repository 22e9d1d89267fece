"""What stands for the images of a split that are decoded only when a batch needs them."""

import abc
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from gcl_jax.data.problems import first
from gcl_jax.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf


# How bytes become pixels, in `decode`: two runs under other words have other images.
DECODING = "JPEG by the accurate integer DCT, CMYK rounded"
AT_ONCE = 4096  # images handed to the threads together


class EncodedImages(abc.ABC):
    """N encoded images where uint8[N, size, size, 3] would stand: with a shape, a length and `photographs[positions]`.

    A kind of them has ``paths`` str[N], by which an image is known whatever holds its bytes; ``size``, the edge of the
    square that each becomes; ``cure``, what to do about one that cannot be read; and ``digests`` uint8[N, 32], the
    SHA-256 of each image's bytes, or None where they have not been read yet.
    """

    paths: np.ndarray
    size: int
    hint: str
    digests: np.ndarray | None

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the array that they stand for."""
        return len(self.paths), self.size, self.size, 3

    def __len__(self) -> int:
        return len(self.paths)

    @abc.abstractmethod
    def __getitem__(self, positions: np.ndarray) -> "EncodedImages":
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
    def opened(self, handle: "tf.Tensor") -> "tf.Tensor":
        """The bytes of the image of a handle: a TensorFlow operation on string tensors without axes."""

    @abc.abstractmethod
    def with_digests(self, digests: np.ndarray) -> "EncodedImages":
        """The same images, and the SHA-256 uint8[N, 32] of their bytes."""

    def identity(self) -> bytes:
        """Digest of names, bytes, size and `DECODING`; reads what has no digest. UserError where that fails."""
        digests = read_digests(self) if self.digests is None else self.digests
        digest = hashlib.sha256(f"{DECODING}\0{self.size}\0".encode())
        for path, path_digest in zip(self.paths.tolist(), digests, strict=True):
            digest.update(path.encode() + b"\0" + path_digest.tobytes())
        return digest.digest()

    def older_identity(self) -> bytes:
        """What `identity` was up to commit 8f92ab7: a digest of names and size alone."""
        digest = hashlib.sha256(str(self.size).encode())
        for path in self.paths.tolist():
            digest.update(path.encode() + b"\0")
        return digest.digest()


def read_digests(images: EncodedImages) -> np.ndarray:
    """SHA-256 uint8[N, 32] of the bytes of each image, read on all cores, with a progress bar on a terminal.

    Raises one UserError that names those that cannot be read.
    """
    digests, bad = np.zeros((len(images), 32), np.uint8), []

    def read(position):
        try:
            return hashlib.sha256(images.encoded(position)).digest()
        except OSError as error:
            return str(error)

    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(images), desc="reading", unit="image", disable=None, leave=False) as progress,
    ):
        for start in range(0, len(images), AT_ONCE):
            positions = range(start, min(start + AT_ONCE, len(images)))
            for position, digest in zip(positions, pool.map(read, positions), strict=True):
                progress.update()
                if isinstance(digest, str):
                    bad.append(f"{images.where(position)}: {digest}")
                else:
                    digests[position] = np.frombuffer(digest, np.uint8)
    if bad:
        lines = "".join(f"\n  {line}" for line in first(bad))
        raise UserError(f"{len(bad):,} of {len(images):,} images cannot be read: {images.hint}{lines}")
    return digests
