"""Published weights in a file of torch, safetensors or numpy, as arrays by the names that torch gave them.

A file is data: nothing in it is ever run.
"""

import os
import pickle
from collections.abc import Mapping
from types import ModuleType

import numpy as np
from etils import epath

from gcl_jax import npz_files, regular_files
from gcl_jax.errors import UserError

TORCH = (".pth", ".pt", ".pth.tar")
# The keys of a state dict in a torch checkpoint; the authors' Places-LT code saves a network in parts.
STATE_DICT_KEYS = ("state_dict", "model")
PART_KEYS = tuple(f"{a}_{b}" for part in ("model", "block", "classifier") for a, b in
              ((part, "state_dict"), ("state_dict", part)))  # fmt: skip


def read(path: str) -> dict[str, np.ndarray]:
    """All arrays of ``path``, by name: .npz, .safetensors (needs safetensors), .pth, .pt or .pth.tar (need torch).

    Of a torch checkpoint these are the state dict's: the file's whole content, its entry "state_dict" or "model", or
    the parts "model_state_dict", "block_state_dict" and "classifier_state_dict"; other entries are ignored.

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
    safetensors = _import("safetensors.numpy", file, "pip install 'gcl_jax[pretrained]'")
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
    torch = _import("torch", file, "pip install torch, or convert it to .safetensors or .npz where torch is")
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
            keys = ", ".join(STATE_DICT_KEYS + PART_KEYS)
            raise UserError(f"init_from: {file} has no state dict of its own or under {keys}; {name!r} is no tensor")
    return {str(name): value.detach().float().numpy() for name, value in tensors.items()}


def _state_dict(content: object) -> Mapping:
    """The named tensors in the ``content`` of a torch checkpoint."""
    if not isinstance(content, Mapping):
        return {type(content).__name__: content}
    for keys in (STATE_DICT_KEYS[:1], STATE_DICT_KEYS[1:], PART_KEYS):
        parts = [content[key] for key in keys if isinstance(content.get(key), Mapping)]
        if parts:
            return {name: value for part in parts for name, value in part.items()}
    return content


def _import(module: str, file: epath.Path, hint: str) -> ModuleType:
    """The package of ``module``, with ``module`` imported; UserError with ``hint`` where it is not installed."""
    try:
        return __import__(module)
    except ImportError as error:
        raise UserError(f"init_from: {file} cannot be read without {module.split('.')[0]}: {hint}") from error
