"""Damaged checkpoints: how they are known (by checksums alone), named, and put aside."""

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
    """A checkpoint that is not what was saved; ``folder`` is its own."""

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


class Different(Exception):
    """What was read is not what was saved; whether the files are to blame is for `named` to find out."""


@contextlib.contextmanager
def named(folder: epath.Path) -> Iterator[None]:
    """Tell why the checkpoint in ``folder`` cannot be read: `Damaged` where that has been seen, else UserError.

    Whatever Orbax raises, its own files decide: one that is gone or has another checksum is damage. Where all are as
    they were saved, or cannot be looked at either, something else is wrong, and the checkpoint may be good.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a checkpoint, its disk, memory, locale or libraries may lead Orbax to anything
        raise _judged(folder, error) from error


def _judged(folder: epath.Path, error: Exception) -> UserError:
    try:
        changed = file_list.changed(folder)
    except OSError as unreadable:
        where = f": {unreadable.filename}" if unreadable.filename else ""
        return _unreadable(folder, f"{unreadable.strerror or unreadable}{where}")
    if changed or (changed is None and _tells_of_damage(error)):
        return Damaged(folder, changed or str(error))
    reason = _passing(error) or " ".join(str(error).split())[:200]
    if isinstance(error, Different):
        reason += ", though all its files are"
    return _unreadable(folder, reason or type(error).__name__)


def _unreadable(folder: epath.Path, reason: str) -> UserError:
    return UserError(
        f"checkpoint {folder} could not be read ({reason}); nothing was changed. Put that right, and give the same "
        "command again"
    )


# What is no fault of the checkpoint's: rights, open files, a network disk that went away, memory of host or device.
_CODES = (
    errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM,
    errno.ENOTCONN,
)  # fmt: skip
_PASSING = (*map(os.strerror, _CODES), "PERMISSION_DENIED", "RESOURCE_EXHAUSTED")
# What TensorStore says of files that it has read and that are wrong.
_DAMAGE = ("DATA_LOSS", "OUT_OF_RANGE", "FAILED_PRECONDITION", "NOT_FOUND", "CRC-32C", "Truncated", "Invalid JSON")


def _passing(error: BaseException) -> str:
    """Why a checkpoint cannot be read now and yet may be later; "" where ``error`` does not say so."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return next((message for message in _PASSING if message in str(error)), "")


def _tells_of_damage(error: BaseException) -> bool:
    """Whether ``error``, of reading a checkpoint without a list of its files, can only come of files that are wrong."""
    if isinstance(error, Different | json.JSONDecodeError | FileNotFoundError):
        return True
    if isinstance(error, OSError) or _passing(error):
        return False
    message = str(error)
    if "OS error" not in message and any(code in message for code in _DAMAGE):
        return True
    return error.__cause__ is not None and _tells_of_damage(error.__cause__)


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
    """``note`` as it is saved: with step, the arrays' checksums, and its own."""
    whole = json.loads(json.dumps({**note, "step": step, "arrays": checksums(flat)}))
    return {**whole, "note_crc32": _of_note(whole)}


def _of_note(note: Mapping) -> int:
    return zlib.crc32(json.dumps({k: v for k, v in note.items() if k != "note_crc32"}, sort_keys=True).encode())


def verify_note(note: Mapping, step: int, folder: epath.Path) -> None:
    """Raise `Different` unless the note is what was saved, and `Damaged` unless it was as that of ``step``.

    Notes of older versions, unsigned, are taken.
    """
    if not {"arrays", "note_crc32"}.isdisjoint(note) and note.get("note_crc32") != _of_note(note):
        raise Different("its note is not what was saved")
    if note.get("step", step) != step:
        raise Damaged(folder, f"it was saved as that of step {note['step']}")


def verify(flat: Mapping[str, np.ndarray], note: Mapping, folder: epath.Path) -> None:
    """Raise `Damaged`, or UserError (see `named`), unless the arrays of ``flat`` have the checksums in ``note``."""
    with named(folder):
        for name, checksum in checksums(flat).items() if "arrays" in note else ():
            if checksum != note["arrays"][name]:
                raise Different(f"{name} is not what was saved")


def quarantine(damaged: Damaged) -> None:
    """Move a damaged checkpoint out of the way, so that its step can be saved again; say so."""
    target = distributed.run_on_host0(lambda: str(_moved(damaged.folder)))
    logs.log_info(f"warning: checkpoint {damaged.folder} is damaged ({damaged.reason}); it is now {target}")


def _moved(folder):
    place = aside(folder.parent.parent)
    target, n = place / folder.name, 1
    while target.exists():
        target, n = place / f"{folder.name}.{n}", n + 1
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        return folder.rename(target)


def aside(stage: epath.Path) -> epath.Path:
    """Where the damaged checkpoints of the stage in the folder ``stage`` are put."""
    return stage / "damaged"


def refuse_to_start_over(stage: epath.Path) -> None:
    """Raise UserError if the stage in the folder ``stage`` had checkpoints, of which none is good."""
    if aside(stage).exists() and not paths.matching(stage / "checkpoints", "[0-9]*"):
        raise UserError(
            f"no checkpoint of {stage} is left: all are damaged, and lie in {aside(stage)}. Put a good copy into "
            f"{stage / 'checkpoints'}, or remove {aside(stage)} to train the stage from its start"
        )
