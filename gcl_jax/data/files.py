"""Images in files of their own."""

import dataclasses
import os
from typing import TYPE_CHECKING

import numpy as np

from gcl_jax.data import on_disk
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.runtime import quiet_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Files(EncodedImages):
    """Photographs that are files; ``paths`` are relative to the folder ``root``.

    >>> files = Files("photos", np.array(["a/1.jpg", "b/2.jpg"]), 64)
    >>> files.shape, files[np.array([1])].paths.tolist()
    ((2, 64, 64, 3), ['b/2.jpg'])
    """

    root: str
    paths: np.ndarray
    size: int
    digests: np.ndarray | None = None

    hint = (
        "mend or remove it, or set --config.data.photos.on_bad_image=skip in a new --workdir; python -m gcl_jax.data "
        "inspect --decode names all such"
    )

    def __getitem__(self, positions: np.ndarray) -> "Files":
        digests = None if self.digests is None else self.digests[positions]
        return dataclasses.replace(self, paths=self.paths[positions], digests=digests)

    def with_digests(self, digests: np.ndarray) -> "Files":
        """As the base class says."""
        return dataclasses.replace(self, digests=digests)

    def where(self, position: int) -> str:
        """The path of an image."""
        return os.path.join(self.root, self.paths[position])

    def encoded(self, position: int) -> bytes:
        """The content of a file; OSError where it cannot be read."""
        return on_disk.read(self.where(position))

    def handles(self, positions: np.ndarray) -> np.ndarray:
        """The paths as bytes; the pipeline reads the files, on threads of its own."""
        return np.array([self.where(i).encode() for i in positions], np.bytes_)

    def opened(self, handle: "tf.Tensor") -> "tf.Tensor":
        """The content of the file, read by TensorFlow."""
        return quiet_tensorflow.load().io.read_file(handle)
