"""A user's own arrays: an .npz with x_train, y_train, x_test, y_test."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from gcl_jax import npz_files
from gcl_jax.data.dataset import Source, Split, check
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
    arrays = npz_files.read(path, "config.data.path")
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise UserError(f"config.data.path: {path} lacks {', '.join(missing)}; it must hold {', '.join(REQUIRED)}")
    y_train = arrays["y_train"]
    if "class_names" in arrays:
        class_names = _class_names(arrays["class_names"], path)
    else:
        integers = y_train.dtype.kind in "iu" and y_train.size
        largest = max(int(y_train.max()), 0) if integers else 0
        if largest >= max(y_train.size, 1):
            raise UserError(
                f"{path}: y_train holds the label {largest}, with only {y_train.size} images: number 0..C-1"
            )
        class_names = tuple(map(str, range(largest + 1)))
    index = arrays.get("index_train")
    if index is not None and (index.ndim != 1 or index.dtype.kind not in "iu"):
        raise UserError(f"{path}: index_train is {index.dtype}{list(index.shape)}; it must be a list of integers")
    if index is not None and not all(0 <= position < 2**63 for position in index.tolist()):
        raise UserError(f"{path}: index_train holds what is no position: they count from 0")
    train, test = (Split(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test"))
    source = Source(name, train, test, class_names, index)
    check(source, path)  # before labels become int32
    train, test = (Split(split.images, split.labels.astype(np.int32)) for split in (train, test))
    return dataclasses.replace(source, train=train, test=test)


def _class_names(array: np.ndarray, path: str) -> tuple[str, ...]:
    names = np.ravel(array)
    try:
        decoded = tuple(
            map(str, np.char.decode(names, "utf-8", "backslashreplace") if names.dtype.kind == "S" else names)
        )
        "".join(decoded).encode()
    except (ValueError, SystemError) as error:  # code points that no character has
        raise UserError(f"{path}: class_names are no text ({error}): write them again") from error
    if names.dtype.kind not in "SUiu":
        raise UserError(f"{path}: class_names are {names.dtype}; they must be text")
    return decoded
