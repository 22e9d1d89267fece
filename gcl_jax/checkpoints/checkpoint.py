"""Saving and reading the checkpoints of a stage, with Orbax.

A checkpoint is a flat dict {"params/backbone/conv1/kernel": array, ...} and a JSON note. Flat
names make a mismatch one clear line, and let another run take the parameters alone. Orbax
writes to a temporary folder and renames it, so that a kill in mid-write leaves the checkpoint before.
It notices files that are cut short, but not every changed byte: the note therefore holds a checksum
of each array and of itself, which are compared whenever a checkpoint is read, and a list of its files
(`file_list`) tells damage from other errors.
"""

import contextlib
import errno
import functools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from etils import epath
from flax import traverse_util

from gcl_jax import paths
from gcl_jax.checkpoints import file_list, frozen, integrity
from gcl_jax.errors import UserError, reading, require_readable, require_utf8
from gcl_jax.runtime import distributed
from gcl_jax.typing import PyTree

NOT_VARIABLES = ("step", "opt_state", "ema", "metric_sums")  # parts of a saved state that no network takes


def flatten(tree: PyTree) -> dict[str, PyTree]:
    """Any pytree as {path: leaf} with "/"-joined names; empty containers disappear.

    >>> flatten({"params": {"head": {"kernel": 1}}, "opt": ({"m": 2},)})
    {'opt/0/m': 2, 'params/head/kernel': 1}
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def storable(folder: epath.Path) -> epath.Path:
    """``folder``, absolute; UserError where TensorStore would put the arrays elsewhere."""
    folder = paths.given(folder)
    if "\\" in str(folder):
        raise UserError(
            f"{folder} has a backslash in its path, which TensorStore takes for a slash: the arrays of a checkpoint "
            "would lie elsewhere. Name a folder without one"
        )
    require_utf8(folder)
    return folder


# Orbax measures how long a save takes by the wall clock, which may jump by days: in effect it waits for ever. A process
# that has died is noticed by JAX's own heartbeat.
_SAVE_TIMEOUT = 100 * 365 * 24 * 3600  # seconds


@functools.cache
def _silence_repeated_tracebacks() -> None:
    """Drop the tracebacks that Orbax's threads log of errors which Orbax raises again where the save is waited for."""

    def is_not_repeated(record: logging.LogRecord) -> bool:
        return not (record.exc_info and f"{os.sep}orbax{os.sep}checkpoint{os.sep}" in record.pathname)

    absl_logging.get_absl_logger().addFilter(is_not_repeated)


class _Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
        """Always False: JAX's sync point counts its calls, and `preemption` alone makes them."""
        return False


def _manager(folder: epath.Path, *, alone: bool = False, **options: Any) -> ocp.CheckpointManager:
    """Orbax's manager, whose methods all processes call together; with ``alone`` this process by itself."""
    processes = ocp.options.MultiprocessingOptions()
    if alone:
        process = jax.process_index()
        processes = ocp.options.MultiprocessingOptions(primary_host=process, active_processes={process})
    # Handlers are named here, since metadata is read before anything is saved or restored.
    handlers = {
        "state": ocp.StandardCheckpointHandler(multiprocessing_options=processes),
        "note": ocp.JsonCheckpointHandler(multiprocessing_options=processes),
    }
    options = ocp.CheckpointManagerOptions(multiprocessing_options=processes, **options)
    return _Manager(paths.LiteralPath(folder), item_handlers=handlers, options=options)


def _read_note(manager: ocp.CheckpointManager, step: int, folder: epath.Path) -> dict:
    note = manager.restore(step, args=ocp.args.Composite(note=ocp.args.JsonRestore()))["note"]
    integrity.verify_note(note, step, folder)
    return note


def _shapes(manager: ocp.CheckpointManager, step: int, note: Mapping) -> dict[str, Any]:
    """The arrays as Orbax lists them, if they are those that were saved."""
    shapes = flatten(manager.item_metadata(step)["state"])
    if "arrays" in note and {k: list(x.shape) for k, x in shapes.items()} != {
        k: shape for k, (_, *shape) in note["arrays"].items()
    }:
        raise integrity.Mismatch("its list of arrays is not what was saved")
    return shapes


class Checkpoints:
    """The checkpoints of one stage, in ``folder``; saves in the background, keeps the last ``keep``.

    ``constant`` names the arrays that no step changes, which are saved once (see `frozen`).
    """

    def __init__(self, folder: epath.Path, keep: int, constant: Iterable[str] = ()):
        self._folder = storable(folder)  # absolute: Orbax fails on relative paths, in a thread
        self._constant = tuple(sorted(constant))
        self._constant_note: dict | None = None
        _silence_repeated_tracebacks()
        # Folders are made before a save returns: threads that wait for one which cannot be made do so for minutes.
        async_options = ocp.options.AsyncOptions(
            timeout_secs=_SAVE_TIMEOUT,
            create_directories_asynchronously=False,
            post_finalization_callback=self._list_files,
        )
        with self._explain_write_errors():
            self._manager = _manager(
                self._folder,
                max_to_keep=keep,
                create=True,
                enable_async_checkpointing=True,
                async_options=async_options,
                cleanup_tmp_directories=True,  # of killed saves
            )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the last save and let go of the folder; UserError if that save failed."""
        with self._explain_write_errors():
            self._manager.close()

    def wait(self) -> None:
        """Return when the last save is complete; UserError if it failed."""
        with self._explain_write_errors():
            self._manager.wait_until_finished()

    def forget_after(self, step: int) -> None:
        """Remove the checkpoints after ``step``, from which training goes on: it will save them again."""
        for later_step in self.steps():
            if later_step > step:
                self._manager.delete(later_step)

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are complete or being completed, ascending; as process 0 sees them."""
        return distributed.run_on_host0(lambda: sorted(self._manager.all_steps()))

    def _list_files(self) -> None:
        """List the files of the save that is about to become a checkpoint; in Orbax's thread, of the first process."""
        for path in self._folder.iterdir():
            if path.name.startswith(f"{self._saving_step}.") or path.name == str(self._saving_step):
                file_list.write(path)

    def save(self, step: int, tree: PyTree, note: Mapping) -> None:
        """Start saving ``tree`` and ``note`` as ``step``; returns before the write ends.

        Raises UserError if the disk is full or cannot be written, be it here, at the next save or in `wait`.
        """
        flat = flatten(tree)
        if constant := {name: flat.pop(name) for name in self._constant}:
            note = {**note, "frozen": self._write_constant_once(constant)}
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(flat),
            note=ocp.args.JsonSave(integrity.with_checksums(note, jax.device_get(flat), step)),
        )
        with self._explain_write_errors():
            self._manager.wait_until_finished()  # of the save before, which it would do itself
            self._saving_step = step
            saved = self._manager.save(step, args=args)
        if not saved:
            raise UserError(f"checkpoint {step} was not written to {self._folder}: one with that number exists already")

    def _write_constant_once(self, constant: Mapping[str, jax.Array]) -> dict:
        """{"digest", "names"} of the arrays that no step changes, for the note; the first call writes them."""
        if self._constant_note is None:
            digest = distributed.run_on_host0(lambda: frozen.write(self._folder, jax.device_get(dict(constant))))
            self._constant_note = {"digest": digest, "names": list(self._constant)}
        return self._constant_note

    @contextlib.contextmanager
    def _explain_write_errors(self) -> Iterator[None]:
        """Turn what Orbax and TensorStore raise into a UserError that says which checkpoint is safe."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:  # the latter are TensorStore's
            if isinstance(error, UserError):
                raise
            earlier = "what was saved before is untouched"
            with contextlib.suppress(OSError):
                steps = [int(path.name) for path in self._folder.iterdir() if path.name.isdigit()]
                earlier = f"the checkpoint of step {max(steps)} is safe there" if steps else "there is none there yet"
            raise UserError(
                f"a checkpoint could not be written to {self._folder} ({_reason(error)}); {earlier}. Make room, or see "
                "that the folder can be written, and give the same command again"
            ) from error

    def note(self, step: int) -> dict:
        """The note of ``step``; raises `Damaged` where it, or the list of arrays, is not what was saved."""
        path = self._folder / str(step)
        with integrity.explain_read_errors(path):
            note = _read_note(self._manager, step, path)
            _shapes(self._manager, step, note)
            return note

    def restore(self, step: int, like: PyTree) -> tuple[PyTree, dict]:
        """The tree saved as ``step``, in the structure, types and shardings of ``like``, and its note.

        Arrays that no step changes are taken from ``like``, the stage's start, where they are the saved ones.

        Raises `Damaged` where the tree is not what was saved, and UserError naming the first array that is missing,
        left over, or of another shape.
        """
        wanted, path = flatten(like), self._folder / str(step)
        with integrity.explain_read_errors(path):
            note = _read_note(self._manager, step, path)
            shapes = _shapes(self._manager, step, note)
        frozen_note = note.get("frozen", {"names": []})
        constant = {name: wanted.pop(name) for name in frozen_note["names"] if name in wanted}
        for name in [*wanted, *shapes, *frozen_note["names"]]:
            if name in constant:
                continue
            if name not in shapes:
                raise UserError(f"checkpoint {path} has no array {name}: it belongs to another model or method")
            if name not in wanted:
                raise UserError(f"checkpoint {path} holds {name}, which this model or method does not have")
            if tuple(shapes[name].shape) != tuple(wanted[name].shape):
                raise UserError(f"checkpoint {path}: {name} has shape {shapes[name].shape}, not {wanted[name].shape}")
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), wanted)
        with integrity.explain_read_errors(path):
            args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
            state = self._manager.restore(step, args=args)["state"]
        integrity.verify(jax.device_get(state), note, path)
        state |= self._constant_arrays(constant, frozen_note) if constant else {}
        return jax.tree.unflatten(jax.tree.structure(like), [state[name] for name in flatten(like)]), note

    def _constant_arrays(self, start: Mapping[str, jax.Array], frozen_note: Mapping) -> dict[str, jax.Array]:
        """The arrays that no step changes: those of ``start`` where they have the note's digest, else the file's.

        In the first case the file is written again where it was lost: the run may save nothing more that needs it.
        """
        if frozen.digest(jax.device_get(dict(start))) == frozen_note["digest"]:
            distributed.run_on_host0(lambda: frozen.write(self._folder, jax.device_get(dict(start))))
            return dict(start)
        arrays = distributed.all_or_raise(lambda: frozen.read(self._folder, frozen_note))
        return {name: jax.device_put(array, start[name].sharding) for name, array in arrays.items()}


def _reason(error: Exception) -> str:
    """The operating system's message in an error of TensorStore's, or the error's first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip() or type(error).__name__
    messages = {os.strerror(code) for code in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EACCES)}
    return next((message for message in messages if message in text), text.splitlines()[0][:200])


def read(folder: epath.Path, step: int | None = None) -> tuple[dict[str, np.ndarray], dict, int]:
    """Newest complete checkpoint in ``folder``, or that of ``step``, as ({path: array}, note, step).

    The folder is not touched. Raises UserError when there is none, and `Damaged` when it is not what was saved: no
    other step is taken for it.
    """
    folder = storable(folder)
    with reading(folder):
        if not folder.exists():
            raise UserError(f"there is no checkpoint folder {folder}")
        require_readable([folder])
    with reading(folder), _manager(folder, alone=True, read_only=True, save_interval_steps=0, create=False) as manager:
        steps = manager.all_steps()
        if not steps or step not in (None, *steps):
            raise UserError(f"{folder} holds no complete checkpoint" + (f" of step {step}" if step is not None else ""))
        step = max(steps) if step is None else step
        path = folder / str(step)
        with integrity.explain_read_errors(path):
            note = _read_note(manager, step, path)
            on_host = {k: np.empty(x.shape, x.dtype) for k, x in _shapes(manager, step, note).items()}
            args = ocp.args.Composite(state=ocp.args.StandardRestore(on_host))
            arrays = manager.restore(step, args=args)["state"]
    integrity.verify(arrays, note, path)
    if "frozen" in note:
        arrays |= frozen.read(folder, note["frozen"])
    return arrays, note, step


def read_variables(folder: epath.Path, step: int | None = None) -> tuple[dict, dict, int]:
    """Like `read`, with the nested {"params", "batch_stats", ..., "method_state"} that a network takes.

    Parameters of which there is a moving average are those averages.
    """
    flat, note, step = read(folder, step)
    averages = {f"params/{k.removeprefix('ema/')}": v for k, v in flat.items() if k.startswith("ema/")}
    wanted = {k: v for k, v in flat.items() if k.split("/")[0] not in NOT_VARIABLES} | averages
    nested = traverse_util.unflatten_dict(wanted, sep="/")
    return {"params": {}, "batch_stats": {}, "method_state": {}, **nested}, note, step
