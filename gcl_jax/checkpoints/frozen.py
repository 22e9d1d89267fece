"""What no step of a stage changes, saved once: one file for all checkpoints of a stage, which name it by its digest.

The file lies in the stage's folder, frozen_DIGEST.npz, also for the checkpoint that is best on validation. Seeds of one
run that start alike share its bytes (hard links).
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np
from etils import epath

from gcl_jax import npz_files, paths
from gcl_jax.checkpoints import integrity
from gcl_jax.errors import UserError
from gcl_jax.replacing import replacing


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and values.

    >>> digest({"a": np.ones(2)}) == digest({"a": np.ones(2)}) != digest({"b": np.ones(2)})
    True
    """
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {array.dtype} {array.shape};".encode())
        state.update(array)
    return state.hexdigest()


def write(checkpoints: epath.Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Keep ``arrays`` for the checkpoints in the folder ``checkpoints``; returns their digest.

    Where the file is there already, and whole, nothing is written.
    """
    name = digest(arrays)
    if any(_holds(file, name) for file in _places(checkpoints, name)):
        return name
    file = _places(checkpoints, name)[-1 if checkpoints.parent.name == integrity.BEST else 0]
    with replacing(file) as new:
        if new.exists():  # since a kill; it may be a link to another seed's file, which writing to it would cut short
            new.unlink()
        if not _linked(file, new, name):
            with new.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
    return name


def read(checkpoints: epath.Path, note: Mapping) -> dict[str, np.ndarray]:
    """The arrays that ``note``, {"digest", "names"}, of a checkpoint in the folder ``checkpoints`` names.

    Raises UserError where the file that holds them is missing, or is not what was saved.
    """
    for file in _places(checkpoints, note["digest"]):
        if _holds(file, note["digest"]):
            return _load(file)
    files = _places(checkpoints, note["digest"])
    what = "is not what was saved" if any(file.exists() for file in files) else "is missing"
    raise UserError(
        f"{files[0]} {what}: it holds what the stage does not train, for all checkpoints in {checkpoints}. Put a good "
        "copy of it there (beside the folder checkpoints), or give the command of its run again, which makes it anew "
        "(of a stage that is finished after its DONE.json and the result.json beside its folder are removed)"
    )


def _file_name(name: str) -> str:
    return f"frozen_{name[:16]}.npz"


def _places(checkpoints: epath.Path, name: str) -> list[epath.Path]:
    """Where the file may lie: in the stage's folder, which of the best checkpoint is one further up."""
    return [folder / _file_name(name) for folder in (checkpoints.parent, checkpoints.parent.parent)]


def _load(file: epath.Path) -> dict[str, np.ndarray]:
    with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        return {member.filename.removesuffix(".npy"): npz_files.array(archive, member) for member in archive.infolist()}


def _holds(file: epath.Path, name: str) -> bool:
    """Whether ``file`` is there and has this digest."""
    try:
        return file.exists() and digest(_load(file)) == name
    except MemoryError:
        raise
    except Exception:  # whatever zipfile and numpy trip over in a damaged file
        return False


def _linked(file: epath.Path, new: epath.Path, name: str) -> bool:
    """Whether another seed's file of this digest could be linked to as ``new``; never in object stores."""
    if "://" in str(file):
        return False
    seed, stage = file.parent.parent, file.parent.name
    for other in _others(seed):
        if _holds(other / stage / file.name, name):
            with contextlib.suppress(OSError):
                os.link(other / stage / file.name, new)
                return True
    return False


def _others(seed: epath.Path) -> Iterable[epath.Path]:
    return [path for path in paths.matching(seed.parent, "seed_*") if path != seed] if "seed_" in seed.name else []
