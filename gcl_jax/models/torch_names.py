"""The name map between PyTorch checkpoints of ResNets and our variables.

For photographs the names are torchvision's and timm's, head ``fc``; the authors' CIFAR networks, with the head
``linear``, name the rest alike. conv OIHW <-> kernel HWIO; BN weight, bias, running_mean, running_var <-> scale, bias,
mean, var. A head without bias is a cosine head, whose weight is [D, C] in both worlds (LDAM's NormedLinear); a linear
head's is transposed.
"""

import re

import numpy as np
from flax import traverse_util

from gcl_jax.errors import UserError

_BN = {"weight": ("params", "scale"), "bias": ("params", "bias"),
       "running_mean": ("batch_stats", "mean"), "running_var": ("batch_stats", "var")}  # fmt: skip
_LAYER = re.compile(r"(?:layer([1-4])\.(\d+)\.)?(?:(conv|bn)(\d)|downsample\.([01]))\.(\w+)")
_HEAD = re.compile(r"(?:fc|linear)\.(weight|bias)")


def from_torch(arrays: dict[str, np.ndarray]) -> dict:
    """Torch state dict (numpy values) -> {"params", "batch_stats"} nested dicts of float32 arrays.

    A ``module.`` prefix and BN's ``num_batches_tracked`` are dropped; ``layer5`` is layer4's last block, which the
    authors' Places-LT code keeps apart. Raises UserError for a name that the map does not know, so that nothing is
    left out silently, and for a convolution without four axes.

    >>> from_torch({"fc.weight": np.zeros((10, 64)), "fc.bias": np.zeros(10)})["params"]["head"]["kernel"].shape
    (64, 10)
    """
    arrays = {name.removeprefix("module."): value for name, value in arrays.items()}
    cosine = not {"fc.bias", "linear.bias"} & set(arrays)
    last = len({name.split(".")[1] for name in arrays if name.startswith("layer4.")})
    flat = {}
    for name, value in arrays.items():
        if name.endswith("num_batches_tracked"):
            continue
        if match := _HEAD.fullmatch(name):
            value = value if cosine else value.T
            flat["params", "head", {"weight": "kernel", "bias": "bias"}[match[1]]] = _array(value)
        elif match := _LAYER.fullmatch(re.sub(r"^layer5\.", f"layer4.{last}.", name)):
            stage, block, kind, number, downsample, what = match.groups()
            kind = kind or ("conv", "bn")[int(downsample)]
            path = ("backbone", *([f"layer{stage}_{block}"] if stage else []))
            path += (f"downsample_{kind}" if downsample else f"{kind}{number}",)
            if kind == "conv" and what == "weight" and np.ndim(value) == 4:
                flat["params", *path, "kernel"] = _array(value.transpose(2, 3, 1, 0))
            elif kind == "bn" and what in _BN:
                collection, leaf = _BN[what]
                flat[collection, *path, leaf] = _array(value)
            else:
                raise UserError(f"torch checkpoint: no place for {name!r} of shape {np.shape(value)}")
        else:
            raise UserError(f"torch checkpoint: {name!r} is not a parameter of a ResNet with a linear or cosine head")
    return traverse_util.unflatten_dict(flat)


def _array(value):
    return np.asarray(value, np.float32)
