"""Writing stored logits piece by piece."""

import contextlib
import tempfile
import types
import zipfile
from typing import Any

import numpy as np
from etils import epath

from gcl_jax.errors import writing
from gcl_jax.replacing import replacing
from gcl_jax.stored_logits.layout import VERSION, path

_PIECE = 2**23  # bytes of experts that are copied at a time


class Writer:
    """Writes a split's file from pieces as `rounded` makes them, in order; there is no file until `finish`.

    A context manager; whatever goes wrong in it, an older file stays as it is. Raises UserError where it cannot write.

    >>> from gcl_jax.stored_logits import read, rounded
    >>> folder = tempfile.mkdtemp()
    >>> with Writer(folder, "test", np.array([1]), ("a", "b"), np.array([9, 3])) as writer:
    ...     writer.add(rounded({"logits": np.array([[1.0, 3.0]], np.float32)}))
    ...     size = writer.finish()
    >>> read(folder, "test").logits.tolist()
    [[1.0, 3.0]]
    """

    def __init__(
        self,
        folder: epath.PathLike,
        split: str,
        labels: np.ndarray,
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        files: np.ndarray | None = None,
    ):
        self.path, self._num = path(folder, split), len(labels)
        self._beside: dict[str, Any] = {
            "version": np.int64(VERSION),
            "label": np.asarray(labels, np.int32),
            "class_names": np.asarray(class_names, np.str_),
            "class_counts": np.asarray(class_counts, np.int64),
        }
        if files is not None:
            self._beside["file"] = np.asarray(files, np.str_)
        self._tops: dict[str, list[np.ndarray]] = {"top": [], "experts_top": []}
        self._written = 0
        self._stream: Any = None
        self._experts: Any = None

    def __enter__(self) -> "Writer":
        self._stack = contextlib.ExitStack()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def add(self, piece: dict[str, np.ndarray]) -> None:
        """Append the next examples."""
        with writing(self.path):
            if self._stream is None:
                self._open(piece)
            self._stream.write(np.ascontiguousarray(piece["logits"]).data)
            if self._experts:
                self._experts.write(np.ascontiguousarray(piece["experts"]).data)
        for name, parts in self._tops.items():
            parts += [piece[name]] if name in piece else []
        self._written += len(piece["logits"])

    def _open(self, first: dict[str, np.ndarray]) -> None:
        new = self._stack.enter_context(replacing(self.path))
        file = self._stack.enter_context(new.open("wb"))
        self._archive = self._stack.enter_context(zipfile.ZipFile(file, "w"))
        # A zip is written one array after the other: experts wait in a file of their own.
        if "experts" in first:
            self._experts = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
            self._experts_shape = first["experts"].shape[1:]
        self._stream = self._array("logits", first["logits"].shape[1:])

    def _array(self, name: str, shape: tuple[int, ...]) -> Any:
        """A stream for the float16[N, *shape] that is called ``name``."""
        # float16 of logits shrinks by a fifth at 55 MB/s: not worth a minute at 8,142 classes.
        stream = self._stack.enter_context(self._archive.open(_member(name), "w", force_zip64=True))
        header = {"descr": "<f2", "fortran_order": False, "shape": (self._num, *shape)}
        np.lib.format.write_array_header_1_0(stream, header)
        return stream

    def finish(self) -> int:
        """Complete the file, put it in its place, and return its size in bytes."""
        if self._written != self._num:
            raise ValueError(f"{self.path} got {self._written} of {self._num} examples")
        with writing(self.path):
            self._stream.close()
            if self._experts:
                self._experts.seek(0)
                stream = self._array("experts", self._experts_shape)
                while piece := self._experts.read(_PIECE):
                    stream.write(piece)
                stream.close()
            tops = {name: np.concatenate(parts) for name, parts in self._tops.items() if parts}
            for name, array in {**self._beside, **tops}.items():
                with self._archive.open(_member(name, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)
            self._stack.close()
            return self.path.stat().length


def _member(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """An array's place in the archive; without the time, so that equal arrays make equal files."""
    member = zipfile.ZipInfo(f"{name}.npy")
    member.compress_type = compression
    return member
