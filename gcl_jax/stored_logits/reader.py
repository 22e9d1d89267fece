"""Reading stored logits."""

import dataclasses
import zipfile

import numpy as np
from etils import epath

from gcl_jax import npz_files, regular_files
from gcl_jax.errors import UserError
from gcl_jax.stored_logits.layout import VERSION, path

_PIECE = 2**20  # numbers that are read at a time
_HINT = (
    "the run's command with --eval_only and --config.eval.store_logits=True makes it by one forward pass, if the stage "
    "is finished and there are such images"
)


@dataclasses.dataclass(frozen=True)
class StoredLogits:
    """Logits of a split as stored: ``logits`` float32[N, C], ``labels`` int32[N], training images a class int64[C].

    ``experts`` float32[N, K, C] where they were stored and asked for, ``files`` the names of photographs.
    """

    logits: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    class_counts: np.ndarray
    files: tuple[str, ...] | None = None
    experts: np.ndarray | None = None


def read(folder: epath.PathLike, split: str = "test", *, experts: bool = False) -> StoredLogits:
    """The logits of a split in a stage's ``folder``; with ``experts`` also those of each, where there are any.

    Raises UserError for a file that is missing, damaged or of another version.
    """
    file = path(folder, split)
    if not file.exists():
        raise UserError(f"there is no {file}: {_HINT}")
    with regular_files.opened(file, "stored logits") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _read(archive, file, experts)
        except (OSError, MemoryError, UserError):
            raise
        except Exception as error:  # whatever zipfile and numpy trip over
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"{file} is damaged ({reason}): {_HINT}") from error


def _read(archive: zipfile.ZipFile, file: epath.Path, experts: bool) -> StoredLogits:
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    npz_files.require_sane(archive.infolist(), file.stat().length)

    def small(name):
        return npz_files.array(archive, members[name])

    if (version := int(small("version"))) != VERSION:
        raise UserError(f"{file} is of version {version}, this gcl_jax reads {VERSION}: {_HINT}")
    label, names, counts = small("label"), small("class_names"), small("class_counts")
    shape = (len(label), len(names))
    logits = _whole(archive, members["logits"], small("top"))
    if logits.shape != shape or counts.shape != shape[1:]:
        raise ValueError(f"logits are {list(logits.shape)}, of {shape[0]} labels and {shape[1]} classes")
    stored = None
    if experts and "experts" in members:
        stored = _whole(archive, members["experts"], small("experts_top"))
        if (stored.shape[0], stored.shape[-1]) != shape:
            raise ValueError(f"experts are {list(stored.shape)}, of {shape[0]} labels and {shape[1]} classes")
    files = tuple(small("file").tolist()) if "file" in members else None
    return StoredLogits(logits, label, tuple(names.tolist()), counts, files, stored)


def _whole(archive: zipfile.ZipFile, member: zipfile.ZipInfo, top: np.ndarray) -> np.ndarray:
    """The float32 array of gaps and their ``top``; one copy of it, and a piece of the file."""
    with npz_files.opened(archive, member) as (stream, header):
        if header.dtype != np.float16 or header.fortran_order or header.shape[:-1] != top.shape:
            raise ValueError(f"{member.filename} is {header.dtype}{list(header.shape)}, and its top {list(top.shape)}")
        whole = np.empty(header.shape, np.float32)
        flat, tops = whole.reshape(top.size, -1), top.reshape(-1, 1)
        rows = max(1, _PIECE // max(flat.shape[1], 1))
        for start in range(0, len(flat), rows):
            part = flat[start : start + rows]
            part[:] = np.frombuffer(stream.read(2 * part.size), np.float16).reshape(part.shape)
            part += tops[start : start + rows]
        stream.read(1)  # at its end the checksum is compared
    return whole
