"""Damaged checkpoints: how they are known (checksums), named, and put aside."""

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from gcl_jax import logs, paths
from gcl_jax.errors import UserError, writing
from gcl_jax.machine import distributed

BEST = "best_on_validation"  # the folder of the best checkpoint, in its stage's


class Damaged(UserError):
    """A checkpoint that cannot be read or is not what was saved; ``folder`` is its own."""

    def __init__(self, folder: epath.Path, reason: str):
        self.folder, self.reason = folder, (reason.strip().splitlines() or ["no reason given"])[0][:200]
        stage = folder.parent.parent
        cure = (
            f"to go on from the one before, move that folder away, remove {stage / 'DONE.json'} if it is there, and "
            "give the command of its run again"
        )
        if stage.name == BEST:
            cure = f"only one is kept there: start from {stage.parent} instead, or train that run again elsewhere"
        super().__init__(f"checkpoint {folder} is damaged ({self.reason}): {cure}")


@contextlib.contextmanager
def named(folder: epath.Path) -> Iterator[None]:
    """Make what Orbax raises about the checkpoint in ``folder`` a `Damaged`, or UserError if it may yet be read."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Orbax and TensorStore raise whatever the damage leads them to
        if reason := _passing(error):
            raise UserError(
                f"checkpoint {folder} could not be read ({reason}); nothing was changed. Put that right, and give the "
                "same command again"
            ) from error
        raise Damaged(folder, str(error) or type(error).__name__) from error


# Not the checkpoint's fault: rights, open files, a network disk that went away, memory of host or device.
_CODES = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM)
_PASSING = (*map(os.strerror, _CODES), "PERMISSION_DENIED", "RESOURCE_EXHAUSTED")


def _passing(error: BaseException) -> str:
    """Why a checkpoint cannot be read now and yet may be later; "" where it is damaged."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return next((said for said in _PASSING if said in str(error)), "")


def checksums(flat: Mapping[str, Any]) -> dict[str, list[int]]:
    """[CRC-32 of its bytes, *shape] of each array.

    >>> checksums({"a": np.arange(3, dtype=np.int32)})
    {'a': [494276218, 3]}
    """
    return {
        name: [zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)), *np.shape(leaf)]
        for name, leaf in flat.items()
    }


def signed(note: Mapping, flat: Mapping[str, Any], step: int) -> dict:
    """``note`` as it is saved: with step, the arrays' checksums, and its own."""
    whole = json.loads(json.dumps({**note, "step": step, "arrays": checksums(flat)}))
    return {**whole, "note_crc32": _of_note(whole)}


def _of_note(note: Mapping) -> int:
    return zlib.crc32(json.dumps({k: v for k, v in note.items() if k != "note_crc32"}, sort_keys=True).encode())


def verify_note(note: Mapping, step: int, folder: epath.Path) -> None:
    """Raise `Damaged` unless the note is what was signed as ``step``; those of older versions, unsigned, are taken."""
    if not {"arrays", "note_crc32"}.isdisjoint(note) and note.get("note_crc32") != _of_note(note):
        raise Damaged(folder, "its note is not what was saved")
    if note.get("step", step) != step:
        raise Damaged(folder, f"it was saved as that of step {note['step']}")


def verify(flat: Mapping[str, Any], note: Mapping, folder: epath.Path) -> None:
    """Raise `Damaged` unless the arrays of ``flat`` are those whose checksums are in ``note``."""
    if "arrays" in note:
        for name, found in checksums(flat).items():
            if found != note["arrays"][name]:
                raise Damaged(folder, f"{name} is not what was saved")


def set_aside(damaged: Damaged) -> None:
    """Move a damaged checkpoint out of the way, so that its step can be saved again; say so."""
    target = distributed.first(lambda: str(_moved(damaged.folder)))
    logs.say(f"warning: checkpoint {damaged.folder} is damaged ({damaged.reason}); it is now {target}")


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
