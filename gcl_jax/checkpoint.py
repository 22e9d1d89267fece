"""Checkpoints: Orbax behind a few functions.

A checkpoint is a flat dict {"params/backbone/conv1/kernel": array, ...} and a JSON note. Flat
names make a mismatch one clear line, and let another run take the parameters alone. Orbax
writes to a temporary folder and renames it, so that a kill in mid-write leaves the one before.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util

from gcl_jax.errors import UserError

Tree = Any


def flatten(tree: Tree) -> dict[str, Any]:
    """Any pytree as {path: leaf} with "/"-joined names; empty containers disappear.

    >>> flatten({"params": {"head": {"kernel": 1}}, "opt": ({"m": 2},)})
    {'opt/0/m': 2, 'params/head/kernel': 1}
    """
    return {
        "/".join(_name(part) for part in path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _name(part) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(part, attribute):
            return str(getattr(part, attribute))
    raise TypeError(f"no name for {part!r}")


def _manager(folder: epath.Path, *, alone: bool = False, **options) -> ocp.CheckpointManager:
    """Orbax's manager, whose calls all processes make together; ``alone`` each by itself."""
    processes = ocp.options.MultiprocessingOptions()
    if alone:
        own = jax.process_index()
        processes = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    # Handlers are named here, since metadata is asked for before anything is saved or restored.
    handlers = {
        "state": ocp.StandardCheckpointHandler(multiprocessing_options=processes),
        "note": ocp.JsonCheckpointHandler(multiprocessing_options=processes),
    }
    options = ocp.CheckpointManagerOptions(multiprocessing_options=processes, **options)
    return ocp.CheckpointManager(folder, item_handlers=handlers, options=options)


@contextlib.contextmanager
def _damage_named(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Orbax and TensorStore raise whatever the damage leads them to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{where} is damaged ({reason[:200]}): remove that folder to go on from the one before"
        ) from error


class Checkpoints:
    """The checkpoints of one stage, in ``folder``; saves in the background, keeps the last ``keep``."""

    def __init__(self, folder: epath.Path, keep: int):
        self._folder = epath.Path(folder).expanduser().absolute()  # Orbax fails on relative paths, in a thread
        self._manager = _manager(self._folder, max_to_keep=keep, create=True, enable_async_checkpointing=True)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the last save and let go of the folder."""
        self._manager.close()

    def wait(self) -> None:
        """Return when the last save is complete."""
        self._manager.wait_until_finished()

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are complete or being completed, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, tree: Tree, note: Mapping) -> None:
        """Start saving ``tree`` and ``note`` as ``step``; returns before the write ends."""
        args = ocp.args.Composite(state=ocp.args.StandardSave(flatten(tree)), note=ocp.args.JsonSave(dict(note)))
        if not self._manager.save(step, args=args):
            raise UserError(f"checkpoint {step} was not written to {self._folder}: one with that number exists already")

    def restore(self, step: int, like: Tree) -> tuple[Tree, dict]:
        """The tree saved as ``step``, in the structure, types and shardings of ``like``, and its note.

        Raises UserError naming the first array that is missing, left over, or of another shape.
        """
        wanted = flatten(like)
        where = f"checkpoint {self._folder}/{step}"
        with _damage_named(where):
            found = flatten(self._manager.item_metadata(step)["state"])
        for name in [*wanted, *found]:
            if name not in found:
                raise UserError(f"{where} has no array {name}: it belongs to another model or method")
            if name not in wanted:
                raise UserError(f"{where} holds {name}, which this model or method does not have")
            if tuple(found[name].shape) != tuple(wanted[name].shape):
                raise UserError(f"{where}: {name} has shape {found[name].shape}, not {wanted[name].shape}")
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), wanted)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target), note=ocp.args.JsonRestore())
        with _damage_named(where):
            restored = self._manager.restore(step, args=args)
        leaves = [restored["state"][name] for name in wanted]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), restored["note"]


def read(folder: epath.Path) -> tuple[dict[str, np.ndarray], dict, int]:
    """Newest complete checkpoint in ``folder`` as ({path: array}, note, step), without touching the folder.

    Raises UserError when there is none.
    """
    folder = epath.Path(folder).expanduser().absolute()
    if not folder.exists():
        raise UserError(f"there is no checkpoint folder {folder}")
    with _manager(folder, alone=True, read_only=True, save_interval_steps=0, create=False) as manager:
        step = manager.latest_step()
        if step is None:
            raise UserError(f"{folder} holds no complete checkpoint")
        with _damage_named(f"checkpoint {folder}/{step}"):
            on_host = {k: np.empty(x.shape, x.dtype) for k, x in manager.item_metadata(step)["state"].items()}
            args = ocp.args.Composite(state=ocp.args.StandardRestore(on_host), note=ocp.args.JsonRestore())
            found = manager.restore(step, args=args)
    return found["state"], found["note"], step


def read_variables(folder: epath.Path) -> tuple[dict, dict, int]:
    """Like `read`, with the nested {"params", "batch_stats", "method_state"} that a network takes."""
    flat, note, step = read(folder)
    variables = {"params": {}, "batch_stats": {}, "method_state": {}}
    wanted = {k: v for k, v in flat.items() if k.split("/")[0] in variables}
    return variables | traverse_util.unflatten_dict(wanted, sep="/"), note, step
