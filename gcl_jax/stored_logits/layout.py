"""Where stored logits lie, and how they are rounded."""

import numpy as np
from etils import epath

from gcl_jax.typing import PyTree

VERSION = 1
SPLITS = ("test", "validation")  # never train


def path(folder: epath.PathLike, split: str) -> epath.Path:
    """The file of a split in a stage's folder."""
    return epath.Path(folder) / f"logits_{split}.npz"


def rounded(outputs: dict[str, PyTree]) -> dict[str, PyTree]:
    """{"logits" [B, C], "experts"? [B, K, C]} as they are stored: {"logits" float16, "top" float32[B], ...}.

    Of numpy's arrays or JAX's. What is not finite becomes the largest number, and NaN stays.

    >>> found = rounded({"logits": np.array([[1.0, 3.0]], np.float32)})
    >>> found["logits"].tolist(), found["top"].tolist()
    ([[-2.0, 0.0]], [3.0])
    """
    arrays: dict[str, PyTree] = {}
    for name, top_name in (("logits", "top"), ("experts", "experts_top")):
        if name in outputs:
            most = np.finfo(np.float32).max
            z = outputs[name].clip(-most, most)
            top = z.max(axis=-1, keepdims=True)
            gap = (z / 2 - top / 2).clip(float(np.finfo(np.float16).min) / 2, 0) * 2  # z - top can overflow
            arrays |= {name: gap.astype(np.float16), top_name: top[..., 0].astype(np.float32)}
    return arrays
