"""Published weights in a file, of torch, safetensors or numpy: arrays by the names that torch gave them.

A file is data: nothing in it is ever run.
"""

import os
import pickle
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from etils import epath

from gcl_jax import npz_files, regular_files
from gcl_jax.errors import UserError

TORCH = (".pth", ".pt", ".pth.tar")
# Under what the state dict lies in a checkpoint; the authors' Places-LT code saves a network in parts.
WHOLE = ("state_dict", "model")
PARTS = tuple(f"{a}_{b}" for part in ("model", "block", "classifier") for a, b in
              ((part, "state_dict"), ("state_dict", part)))  # fmt: skip


def read(path: str) -> dict[str, np.ndarray]:
    """All arrays of ``path``, by name: .npz, .safetensors (needs safetensors), .pth, .pt or .pth.tar (need torch).

    Of a torch checkpoint the state dict, found as it is, under "state_dict" or "model", or in parts under
    "model_state_dict", "block_state_dict" and "classifier_state_dict"; what lies beside it is ignored.

    Raises UserError for a file that is damaged or of another kind, that torch refuses to load as weights alone, or
    that needs a package which is not installed.
    """
    file = epath.Path(os.path.expanduser(path))
    if file.name.endswith(".npz"):
        arrays = npz_files.read(path, "init_from")
        for name, value in arrays.items():
            if value.dtype.kind not in "fiu":
                raise UserError(f"init_from: {file}: {name} holds {value.dtype}, not real numbers")
        return arrays
    if file.name.endswith(".safetensors"):
        return _read_safetensors(file)
    if file.name.endswith(TORCH):
        return _read_torch(file)
    raise UserError(f"init_from: {file} is none of {', '.join(('.npz', '.safetensors', *TORCH))}, nor a folder of ours")


def _read_safetensors(file: epath.Path) -> dict[str, np.ndarray]:
    safetensors = _need("safetensors.numpy", file, "pip install 'gcl_jax[pretrained]'")
    with regular_files.opened(file, "init_from") as stream:
        content = stream.read()
    try:
        arrays = safetensors.numpy.load(content)
    except KeyError as error:
        raise UserError(f"init_from: {file} holds {error.args[0]}, which numpy lacks: save it as float32") from error
    except (safetensors.SafetensorError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise UserError(f"init_from: {file} is damaged ({error}); fetch or write it again") from error
    for name, value in arrays.items():
        if value.dtype.kind not in "fiu":
            raise UserError(f"init_from: {file}: {name} holds {value.dtype}, not real numbers: save it as float32")
    return arrays


def _read_torch(file: epath.Path) -> dict[str, np.ndarray]:
    torch = _need("torch", file, "pip install torch, or convert it to .safetensors or .npz where torch is")
    try:
        with regular_files.opened(file, "init_from") as stream:
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"init_from: {file} is damaged or holds more than weights, which torch refuses to load (it could run "
            "anything): fetch it again, or save the network's state_dict() alone"
        ) from error
    except Exception as error:  # whatever torch's readers trip over
        reason = " ".join(str(error).split())[:99]
        raise UserError(f"init_from: {file} is damaged ({reason}); fetch it again") from error
    tensors = _state_dict(content)
    for name, value in tensors.items():
        if torch.is_tensor(value) and (value.layout != torch.strided or value.is_meta or value.is_complex()):
            raise UserError(f"init_from: {file}: {name} is no dense array of real numbers")
        # One number with strides of 0 can stand for an array of any size.
        if torch.is_tensor(value) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise UserError(
                f"init_from: {file}: {name} is said to be {list(value.shape)}, which the file does not hold"
            )
        if not torch.is_tensor(value):
            raise UserError(f"init_from: {file} has no state dict of its own or under {', '.join(WHOLE + PARTS)}; "
                            f"{name!r} is no tensor")  # fmt: skip
    return {str(name): value.detach().float().numpy() for name, value in tensors.items()}


def _state_dict(content: Any) -> Mapping:
    """The named tensors of what torch loaded, out of the checkpoint around them."""
    if not isinstance(content, Mapping):
        return {type(content).__name__: content}
    for keys in (WHOLE[:1], WHOLE[1:], PARTS):
        inner = [content[key] for key in keys if isinstance(content.get(key), Mapping)]
        if inner:
            return {name: value for part in inner for name, value in part.items()}
    return content


def _need(module: str, file: epath.Path, hint: str) -> ModuleType:
    """The package of ``module``, imported with it."""
    try:
        return __import__(module)
    except ImportError as error:
        raise UserError(f"init_from: {file} cannot be read without {module.split('.')[0]}: {hint}") from error
