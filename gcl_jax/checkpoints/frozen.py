"""Arrays that no step of a stage changes: one file for all its checkpoints, which name it by its digest.

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
    """Write ``arrays`` for the checkpoints in the folder ``checkpoints``; returns their digest.

    Where the complete file exists already, nothing is written.
    """
    sha256 = digest(arrays)
    if any(_has_digest(file, sha256) for file in _candidates(checkpoints, sha256)):
        return sha256
    file = _candidates(checkpoints, sha256)[-1 if checkpoints.parent.name == integrity.BEST else 0]
    with replacing(file) as new:
        if new.exists():  # since a kill; it may be a link to another seed's file, which writing to it would cut short
            new.unlink()
        if not _link_from_another_seed(file, new, sha256):
            with new.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
    return sha256


def read(checkpoints: epath.Path, note: Mapping) -> dict[str, np.ndarray]:
    """The arrays that ``note``, {"digest", "names"}, of a checkpoint in the folder ``checkpoints`` names.

    Raises UserError where the file that holds them is missing, or is not what was saved.
    """
    for file in _candidates(checkpoints, note["digest"]):
        if _has_digest(file, note["digest"]):
            return _load(file)
    files = _candidates(checkpoints, note["digest"])
    problem = "is not what was saved" if any(file.exists() for file in files) else "is missing"
    raise UserError(
        f"{files[0]} {problem}: it holds what the stage does not train, for all checkpoints in {checkpoints}. Put a "
        "good copy of it there (beside the folder checkpoints), or give the command of its run again, which makes it "
        "anew (of a stage that is finished after its DONE.json and the result.json beside its folder are removed)"
    )


def _file_name(sha256: str) -> str:
    return f"frozen_{sha256[:16]}.npz"


def _candidates(checkpoints: epath.Path, sha256: str) -> list[epath.Path]:
    """Where the file may lie: in the stage's folder, one level above ``checkpoints`` or, for the best one's, two."""
    return [folder / _file_name(sha256) for folder in (checkpoints.parent, checkpoints.parent.parent)]


def _load(file: epath.Path) -> dict[str, np.ndarray]:
    with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        return {member.filename.removesuffix(".npy"): npz_files.array(archive, member) for member in archive.infolist()}


def _has_digest(file: epath.Path, sha256: str) -> bool:
    """Whether ``file`` exists and its arrays have this digest."""
    try:
        return file.exists() and digest(_load(file)) == sha256
    except MemoryError:
        raise
    except Exception:  # whatever zipfile and numpy raise for a damaged file
        return False


def _link_from_another_seed(file: epath.Path, new: epath.Path, sha256: str) -> bool:
    """Link another seed's file of this digest as ``new``; False where there is none, and in object stores."""
    if "://" in str(file):
        return False
    seed_folder, stage = file.parent.parent, file.parent.name
    for other_folder in _other_seed_folders(seed_folder):
        if _has_digest(other_folder / stage / file.name, sha256):
            with contextlib.suppress(OSError):
                os.link(other_folder / stage / file.name, new)
                return True
    return False


def _other_seed_folders(seed_folder: epath.Path) -> Iterable[epath.Path]:
    if "seed_" not in seed_folder.name:
        return []
    return [path for path in paths.matching(seed_folder.parent, "seed_*") if path != seed_folder]
