"""A given number of training images a class, from a file."""

import json
from pathlib import Path

import numpy as np

from gcl_jax.errors import UserError


def read(path: str) -> np.ndarray:
    """Counts int64[C] from ``path``: a JSON list of whole numbers, each at least 1, in the order of the classes.

    Raises UserError for a file that is missing or holds anything else.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"config.data.photos.counts: there is no file {file}")
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"config.data.photos.counts: {file} is no JSON ({error})") from error
    if not isinstance(found, list) or not found:
        raise UserError(f"config.data.photos.counts: {file} must hold a JSON list of numbers, one a class")
    for j, count in enumerate(found):
        if type(count) is not int or not 1 <= count < 2**31:
            raise UserError(
                f"config.data.photos.counts: class {j} has {count!r} in {file}; it must be a number from 1 on"
            )
    return np.array(found, np.int64)
