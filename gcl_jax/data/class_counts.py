"""The number of training images of each class, from a file."""

import json

import numpy as np

from gcl_jax import regular_files
from gcl_jax.errors import UserError


def read(path: str) -> np.ndarray:
    """Counts int64[C] from ``path``: a JSON list of whole numbers, each at least 1, in the order of the classes.

    Raises UserError for a file that is missing or holds anything else.
    """
    key = "config.data.photos.counts"
    with regular_files.opened(path, key) as stream:
        content = stream.read()
    file = regular_files.shown(path)
    try:
        counts = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{key}: {file} is no JSON ({error})") from error
    if not isinstance(counts, list) or not counts:
        raise UserError(f"{key}: {file} must hold a JSON list of numbers, one a class")
    for j, count in enumerate(counts):
        if type(count) is not int or not 1 <= count < 2**31:
            raise UserError(
                f"{key}: class {j} has {repr(count)[:50]} in {file}; it must be a number from 1 to 2^31 - 1"
            )
    return np.array(counts, np.int64)
