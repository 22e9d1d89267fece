"""A user's own arrays: an .npz with x_train, y_train, x_test, y_test."""

import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from etils import epath

from gcl_jax.data.dataset import Source, Split
from gcl_jax.errors import UserError

REQUIRED = ("x_train", "y_train", "x_test", "y_test")


def read(name: str, path: str, photos: Mapping | None = None) -> Source:
    """Read uint8 images [N, H, W, 1 or 3] and integer labels from ``path``.

    Optional entries: ``class_names``, and ``index_train`` (positions in the published training
    set, class by class in the order drawn), which marks an already long-tailed pack. Pickled
    objects are refused: data files can execute nothing. ``photos`` is not used.

    Raises UserError for a missing, corrupt or incomplete file.
    """
    del photos
    if not path:
        raise UserError("config.data.path is empty: data.source='arrays' needs --config.data.path=FILE.npz")
    arrays = read_npz(path, "config.data.path")
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise UserError(f"config.data.path: {path} lacks {', '.join(missing)}; it must hold {', '.join(REQUIRED)}")
    y_train = arrays["y_train"]
    if "class_names" in arrays:
        names = np.ravel(arrays["class_names"])
        class_names = tuple(
            map(str, np.char.decode(names, "utf-8", "backslashreplace") if names.dtype.kind == "S" else names)
        )
    else:
        integers = np.issubdtype(y_train.dtype, np.integer) and y_train.size
        largest = int(y_train.max()) if integers else 0
        if largest >= max(y_train.size, 1):
            raise UserError(
                f"{name}: y_train holds the label {largest}, with only {y_train.size} images: number 0..C-1"
            )
        class_names = tuple(map(str, range(largest + 1)))
    index = arrays.get("index_train")
    if index is not None and (index.ndim != 1 or not np.issubdtype(index.dtype, np.integer)):
        raise UserError(f"{name}: index_train is {index.dtype}{list(index.shape)}; it must be a list of integers")
    train, test = (Split(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test"))
    return Source(name, train, test, class_names, index)


def read_npz(path: str, key: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz, without pickle; UserError names ``key`` for a file that is missing or damaged."""
    file = epath.Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{key}: there is no file {file}")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as npz:
            found = {name: npz[name] for name in npz.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise UserError(f"{key}: {file} is not a readable .npz of plain arrays ({error}); write it again") from error
    for name, value in found.items():
        if not isinstance(value, np.ndarray):  # numpy gives the bytes of what is in the zip file but no .npy
            raise UserError(f"{key}: {file} is not a readable .npz of plain arrays ({name} is none); write it again")
    return found
