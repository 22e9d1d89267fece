"""A user's own arrays: an .npz with x_train, y_train, x_test, y_test."""

import zipfile

import numpy as np
from etils import epath

from gcl_jax.data.dataset import Source, Split
from gcl_jax.errors import UserError

REQUIRED = ("x_train", "y_train", "x_test", "y_test")


def read(name: str, path: str) -> Source:
    """Read uint8 images [N, H, W, 1 or 3] and integer labels from ``path``.

    Optional entries: ``class_names``, and ``index_train`` (positions in the published training
    set, class by class in the order drawn), which marks an already long-tailed pack. Pickled
    objects are refused: data files can execute nothing.

    Raises UserError for a missing, corrupt or incomplete file.
    """
    if not path:
        raise UserError("data.path is empty: data.source='arrays' needs --config.data.path=FILE.npz")
    file = epath.Path(path).expanduser()
    if not file.exists():
        raise UserError(f"data.path: there is no file {file}")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as npz:
            arrays = {key: npz[key] for key in npz.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.zlib.error, AttributeError) as error:
        raise UserError(
            f"data.path: {file} is not a readable .npz of plain arrays ({error}); write it again"
        ) from error
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise UserError(f"data.path: {file} lacks {', '.join(missing)}; it must hold {', '.join(REQUIRED)}")
    y_train = arrays["y_train"]
    if "class_names" in arrays:
        class_names = tuple(map(str, arrays["class_names"]))
    else:
        countable = np.issubdtype(y_train.dtype, np.integer) and y_train.size
        class_names = tuple(map(str, range(int(y_train.max()) + 1 if countable else 0)))
    train, test = (Split(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test"))
    return Source(name, train, test, class_names, arrays.get("index_train"))
