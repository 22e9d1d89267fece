"""Damaged checkpoints: found by their checksums, reported, and moved to quarantine."""

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from etils import epath

from gcl_jax import logs, paths
from gcl_jax.checkpoints import file_list
from gcl_jax.errors import UserError, writing
from gcl_jax.runtime import distributed

BEST = "best_on_validation"  # the folder of the best checkpoint, in its stage's


class Damaged(UserError):
    """A checkpoint that is not what was saved; ``folder`` is the checkpoint's."""

    def __init__(self, folder: epath.Path, reason: str):
        self.folder, self.reason = folder, (reason.strip().splitlines() or ["no reason given"])[0][:200]
        stage = folder.parent.parent
        hint = (
            f"to go on from the one before, move that folder away, remove {stage / 'DONE.json'} if it is there, and "
            "give the command of its run again"
        )
        if stage.name == BEST:
            hint = f"only one is kept there: start from {stage.parent} instead, or train that run again elsewhere"
        super().__init__(f"checkpoint {folder} is damaged ({self.reason}): {hint}")


class Mismatch(Exception):
    """What was read is not what was saved; `explain_read_errors` finds out whether the files are to blame."""


@contextlib.contextmanager
def explain_read_errors(folder: epath.Path) -> Iterator[None]:
    """Turn what Orbax raises into the reason why the checkpoint in ``folder`` cannot be read.

    `Damaged` where one of its files is gone or has another checksum. Where all files are as they were saved, or cannot
    be read either, something else is wrong, the checkpoint may be good, and a plain UserError says so.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a checkpoint, its disk, memory, locale or libraries may lead Orbax to anything
        raise _diagnose(folder, error) from error


def _diagnose(folder: epath.Path, error: Exception) -> UserError:
    try:
        change = file_list.find_change(folder)
    except OSError as unreadable:
        where = f": {unreadable.filename}" if unreadable.filename else ""
        return _unreadable(folder, f"{unreadable.strerror or unreadable}{where}")
    if change or (change is None and _means_corruption(error)):
        return Damaged(folder, change or str(error))
    reason = _transient(error) or " ".join(str(error).split())[:200]
    if isinstance(error, Mismatch):
        reason += ", though all its files are"
    return _unreadable(folder, reason or type(error).__name__)


def _unreadable(folder: epath.Path, reason: str) -> UserError:
    return UserError(
        f"checkpoint {folder} could not be read ({reason}); nothing was changed. Put that right, and give the same "
        "command again"
    )


# Errors that are no fault of the checkpoint: rights, open files, a network disk that went away, memory of host or
# device.
_TRANSIENT_CODES = (
    errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM,
    errno.ENOTCONN,
)  # fmt: skip
_TRANSIENT = (*map(os.strerror, _TRANSIENT_CODES), "PERMISSION_DENIED", "RESOURCE_EXHAUSTED")
# In TensorStore's messages about files that it has read and that are wrong.
_CORRUPTION = ("DATA_LOSS", "OUT_OF_RANGE", "FAILED_PRECONDITION", "NOT_FOUND", "CRC-32C", "Truncated", "Invalid JSON")


def _transient(error: BaseException) -> str:
    """Why a checkpoint cannot be read now and yet may be later; "" where ``error`` does not say so."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return next((message for message in _TRANSIENT if message in str(error)), "")


def _means_corruption(error: BaseException) -> bool:
    """Whether ``error``, of reading a checkpoint without a list of its files, can only come of files that are wrong."""
    if isinstance(error, Mismatch | json.JSONDecodeError | FileNotFoundError):
        return True
    if isinstance(error, OSError) or _transient(error):
        return False
    message = str(error)
    if "OS error" not in message and any(code in message for code in _CORRUPTION):
        return True
    return error.__cause__ is not None and _means_corruption(error.__cause__)


def checksums(flat: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """[CRC-32 of its bytes, *shape] of each array.

    >>> checksums({"a": np.arange(3, dtype=np.int32)})
    {'a': [494276218, 3]}
    """
    return {
        name: [zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)), *np.shape(leaf)]
        for name, leaf in flat.items()
    }


def with_checksums(note: Mapping, flat: Mapping[str, np.ndarray], step: int) -> dict:
    """``note`` as it is saved: with step, the arrays' checksums, and its own checksum."""
    complete = json.loads(json.dumps({**note, "step": step, "arrays": checksums(flat)}))
    return {**complete, "note_crc32": _note_checksum(complete)}


def _note_checksum(note: Mapping) -> int:
    return zlib.crc32(json.dumps({k: v for k, v in note.items() if k != "note_crc32"}, sort_keys=True).encode())


def verify_note(note: Mapping, step: int, folder: epath.Path) -> None:
    """Raise `Mismatch` unless the note is what was saved, and `Damaged` unless it was saved with the number ``step``.

    Notes of older versions, which have no checksums, pass.
    """
    if not {"arrays", "note_crc32"}.isdisjoint(note) and note.get("note_crc32") != _note_checksum(note):
        raise Mismatch("its note is not what was saved")
    if note.get("step", step) != step:
        raise Damaged(folder, f"it was saved as that of step {note['step']}")


def verify(flat: Mapping[str, np.ndarray], note: Mapping, folder: epath.Path) -> None:
    """Raise `Damaged` or UserError (see `explain_read_errors`) unless ``flat``'s arrays have the note's checksums."""
    with explain_read_errors(folder):
        for name, checksum in checksums(flat).items() if "arrays" in note else ():
            if checksum != note["arrays"][name]:
                raise Mismatch(f"{name} is not what was saved")


def quarantine(damaged: Damaged) -> None:
    """Move a damaged checkpoint out of the way, so that its step can be saved again, and log a warning."""
    target = distributed.run_on_host0(lambda: str(_move_to_quarantine(damaged.folder)))
    logs.log_info(f"warning: checkpoint {damaged.folder} is damaged ({damaged.reason}); it is now {target}")


def _move_to_quarantine(folder: epath.Path) -> epath.Path:
    parent = quarantine_folder(folder.parent.parent)
    target, n = parent / folder.name, 1
    while target.exists():
        target, n = parent / f"{folder.name}.{n}", n + 1
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        return folder.rename(target)


def quarantine_folder(stage: epath.Path) -> epath.Path:
    """Where the damaged checkpoints of the stage in the folder ``stage`` are moved."""
    return stage / "damaged"


def refuse_to_start_over(stage: epath.Path) -> None:
    """Raise UserError if the stage in the folder ``stage`` had checkpoints, of which none is good."""
    damaged = quarantine_folder(stage)
    if damaged.exists() and not paths.matching(stage / "checkpoints", "[0-9]*"):
        raise UserError(
            f"no checkpoint of {stage} is left: all are damaged, and lie in {damaged}. Put a good copy into "
            f"{stage / 'checkpoints'}, or remove {damaged} to train the stage from its start"
        )
