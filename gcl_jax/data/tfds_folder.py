"""Opening data sets of TensorFlow Datasets in any folder, with errors that name the data set and the folder."""

import atexit
import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gcl_jax.errors import UserError
from gcl_jax.runtime import quiet_tensorflow

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


def builder(name: str, path: str) -> "tfds.core.DatasetBuilder":
    """TFDS's builder of the data set ``name`` in the folder ``path`` ("" = TFDS's default one).

    Raises UserError where what lies there is damaged.
    """
    quiet_tensorflow.load()
    import tensorflow_datasets as tfds

    with explain_errors(name, path, "read"):
        return tfds.builder(name, **({"data_dir": _literal(os.path.expanduser(path))} if path else {}))


@contextlib.contextmanager
def explain_errors(name: str, path: str, done: str) -> Iterator[None]:
    """Turn whatever TFDS and TensorFlow raise for damaged files, or a full disk, into one UserError.

    >>> with explain_errors("cifar10", "data", "read"):
    ...     raise RuntimeError("corrupted record at 12")
    Traceback (most recent call last):
    gcl_jax.errors.UserError: cifar10 in data cannot be read (corrupted record at 12): prepare it again, or name another
    folder with --config.data.path=DIR
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{name} in {path or 'the default folder of TFDS'} cannot be {done} ({reason}): prepare it again, or name "
            "another folder with --config.data.path=DIR"
        ) from error


def _literal(path: str) -> str:
    """``path``, or a link to it where its name holds [..], * or ?, which TFDS would take for a pattern."""
    if not glob.has_magic(path) or "://" in path:
        return path
    folder = tempfile.mkdtemp(prefix="gcl_jax_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # the records are read to the end of the process
    link = os.path.join(folder, "tfds")
    os.symlink(os.path.abspath(path), link)
    return link
