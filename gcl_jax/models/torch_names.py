"""The name map between the published PyTorch checkpoints of CIFAR ResNets and our variables.

conv OIHW <-> kernel HWIO; BN weight, bias, running_mean, running_var <-> scale, bias, mean,
var. The cosine head's weight is [D, C] in both worlds (LDAM's NormedLinear), a linear
head's is transposed.
"""

import re

import numpy as np
from flax import traverse_util

from gcl_jax.errors import UserError

_BN = {"weight": ("params", "scale"), "bias": ("params", "bias"),
       "running_mean": ("batch_stats", "mean"), "running_var": ("batch_stats", "var")}  # fmt: skip


def from_torch(arrays: dict[str, np.ndarray]) -> dict:
    """Torch state dict (numpy values) -> {"params", "batch_stats"} nested dicts of float32 arrays.

    A ``module.`` prefix and BN's ``num_batches_tracked`` are dropped. Raises UserError for a
    name that the map does not know, so that nothing is left out silently.

    >>> from_torch({"linear.weight": np.zeros((64, 10))})["params"]["head"]["kernel"].shape
    (64, 10)
    """
    cosine = "linear.bias" not in arrays and "module.linear.bias" not in arrays
    flat = {}
    for name, value in arrays.items():
        name = name.removeprefix("module.")
        if name.endswith("num_batches_tracked"):
            continue
        value = np.asarray(value, np.float32)
        if name == "linear.weight":
            flat["params", "head", "kernel"] = value if cosine else value.T
        elif name == "linear.bias":
            flat["params", "head", "bias"] = value
        elif match := re.fullmatch(r"(?:layer(\d)\.(\d+)\.)?(conv|bn)(\d)\.(\w+)", name):
            stage, block, kind, number, what = match.groups()
            path = ("backbone", *([f"layer{stage}_{block}"] if stage else []), f"{kind}{number}")
            if kind == "conv" and what == "weight":
                flat["params", *path, "kernel"] = value.transpose(2, 3, 1, 0)
            elif kind == "bn" and what in _BN:
                collection, leaf = _BN[what]
                flat[collection, *path, leaf] = value
            else:
                raise UserError(f"torch checkpoint: no place for {name!r}")
        else:
            raise UserError(f"torch checkpoint: {name!r} is not a parameter of a CIFAR ResNet with a linear head")
    return traverse_util.unflatten_dict(flat)
