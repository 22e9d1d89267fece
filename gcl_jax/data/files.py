"""Images that stay on disk until a batch needs them."""

import dataclasses
import hashlib
import os

import numpy as np


@dataclasses.dataclass(frozen=True)
class Files:
    """Photographs by path, standing where uint8[N, size, size, 3] would: with a shape, a length and `files[positions]`.

    ``paths`` are str[N] relative to ``root``; ``size`` is the edge of the square that each becomes.

    >>> files = Files("photos", np.array(["a/1.jpg", "b/2.jpg"]), 64)
    >>> files.shape, files[np.array([1])].paths.tolist()
    ((2, 64, 64, 3), ['b/2.jpg'])
    """

    root: str
    paths: np.ndarray
    size: int

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the array that they stand for."""
        return len(self.paths), self.size, self.size, 3

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, positions: np.ndarray) -> "Files":
        return dataclasses.replace(self, paths=self.paths[positions])

    def full(self, position: int) -> str:
        """Path of one image."""
        return os.path.join(self.root, self.paths[position])

    def all_paths(self) -> np.ndarray:
        """Paths of all images as bytes[N], as a file system takes them."""
        return np.array([os.path.join(self.root, path).encode() for path in self.paths.tolist()], np.bytes_)

    def identity(self) -> bytes:
        """Digest of names and size; not of pixels, which would mean to read everything."""
        digest = hashlib.sha256(str(self.size).encode())
        for path in self.paths.tolist():
            digest.update(path.encode() + b"\0")
        return digest.digest()
