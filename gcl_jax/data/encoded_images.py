"""The images of a split as encoded bytes, which are decoded only when a batch needs them."""

import abc
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from gcl_jax.data.problems import first_lines
from gcl_jax.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf


# How `decode` makes pixels of bytes: part of the data's fingerprint, changed whenever pixels do.
DECODING = "JPEG by the accurate integer DCT, CMYK rounded"
CHUNK = 4096  # images handed to the threads together


class EncodedImages(abc.ABC):
    """N encoded images in place of an array uint8[N, size, size, 3]: with its shape, its length and ``[positions]``.

    Subclasses have ``paths`` str[N], the names of the images, whatever file holds their bytes; ``size``, the edge of
    the square that each is cropped to; ``hint``, what to do about an image that cannot be read; and ``digests``
    uint8[N, 32], the SHA-256 of each image's bytes, or None where they have not been read yet.
    """

    paths: np.ndarray
    size: int
    hint: str
    digests: np.ndarray | None

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the decoded images."""
        return len(self.paths), self.size, self.size, 3

    def __len__(self) -> int:
        return len(self.paths)

    @abc.abstractmethod
    def __getitem__(self, positions: np.ndarray) -> "EncodedImages":
        """The images at ``positions``, in that order."""

    @abc.abstractmethod
    def where(self, position: int) -> str:
        """Where an image is, for messages."""

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

    def content_digest(self) -> bytes:
        """SHA-256 over names, bytes, size and `DECODING`; UserError where bytes that are needed cannot be read."""
        digests = read_digests(self) if self.digests is None else self.digests
        digest = hashlib.sha256(f"{DECODING}\0{self.size}\0".encode())
        for path, path_digest in zip(self.paths.tolist(), digests, strict=True):
            digest.update(path.encode() + b"\0" + path_digest.tobytes())
        return digest.digest()

    def legacy_digest(self) -> bytes:
        """What `content_digest` was up to commit 8f92ab7: a digest of names and size alone."""
        digest = hashlib.sha256(str(self.size).encode())
        for path in self.paths.tolist():
            digest.update(path.encode() + b"\0")
        return digest.digest()


def read_digests(images: EncodedImages) -> np.ndarray:
    """SHA-256 uint8[N, 32] of the bytes of each image, read on all cores, with a progress bar on a terminal.

    Raises one UserError that names the images that cannot be read.
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
        for start in range(0, len(images), CHUNK):
            positions = range(start, min(start + CHUNK, len(images)))
            for position, digest in zip(positions, pool.map(read, positions), strict=True):
                progress.update()
                if isinstance(digest, str):
                    bad.append(f"{images.where(position)}: {digest}")
                else:
                    digests[position] = np.frombuffer(digest, np.uint8)
    if bad:
        lines = "".join(f"\n  {line}" for line in first_lines(bad))
        raise UserError(f"{len(bad):,} of {len(images):,} images cannot be read: {images.hint}{lines}")
    return digests
