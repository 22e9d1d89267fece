"""Whether what a run started from is still what lies there: another network under the same path is another row."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from flax import traverse_util

from gcl_jax.checkpoints import warm_start
from gcl_jax.errors import UserError
from gcl_jax.table.plan import Node
from gcl_jax.training.starts import Start, start_of


def replaced(node: Node, seed: int, started_from: str | None) -> str:
    """The start of ``node`` if it holds other weights now than those it ``started_from``, else nothing.

    ``started_from`` is the digest in the seed's result. A start that is gone, or cannot be loaded, says nothing: no run
    can begin from it, so that no other row comes to stand on anything else.
    """
    stage = node.config.stages[-1]
    block = node.config[stage]
    if not block.init_from or started_from is None:
        return ""
    try:
        start = start_of(node.config, stage, seed)
        stamp = _stamp(start.origin)
        held, all_of_it = _digest(start, block.restore, stamp)
        same = held == started_from
        if not same and not all_of_it:
            key = (str(node.folder), seed, stamp)
            if key not in _older:
                _older[key] = _older_digest(node, stage, seed, start.load() or {}, start.origin)
            same = _older[key] == started_from
    except (UserError, OSError):
        return ""
    return "" if same else block.init_from


_older: dict[tuple, str] = {}  # what `_older_digest` said: it takes the data


@functools.cache
def _digest(start: Start, restore: str, stamp: tuple) -> tuple[str, bool]:
    """The digest of what a stage whose ``restore`` it is takes from ``start``, and whether that is all there is.

    Loaded once while its files, of which ``stamp`` tells, stay as they are.
    """
    variables = start.load() or {}
    taken = _taken(variables, restore)
    return warm_start.digest(taken), len(_flat(taken)) == len(_flat(variables))


def _taken(variables: Mapping, restore: str) -> dict:
    return warm_start.restored_part(_network_part(variables), warm_start.restored_by(restore))


def _flat(variables: Mapping) -> dict:
    return traverse_util.flatten_dict({name: dict(tree) for name, tree in _network_part(variables).items()})


def _network_part(variables: Mapping) -> dict:
    return {name: tree for name, tree in variables.items() if name not in ("class_names", "method_state")}


def _older_digest(node: Node, stage: str, seed: int, variables: Mapping, start: str) -> str:
    """The digest as older versions wrote it, over what was fresh, too; "" where the start does not fit.

    That takes the network, and so the data: UserError where these are not there.
    """
    from gcl_jax.training.run_context import RunContext

    its_stage = RunContext(node.config).stage(stage, 1)
    try:
        return its_stage.restore_variables(seed, dict(variables), start)[1][-1]
    except UserError:
        return ""


def _stamp(path: str) -> tuple:
    """Sizes and times of all files that ``path`` is, or holds."""
    root = Path(os.path.expanduser(path))
    files = [Path(folder, name) for folder, _, names in os.walk(root) for name in names] if root.is_dir() else [root]
    about = [(str(file), file.stat() if file.exists() else file.lstat()) for file in sorted(files)]
    return tuple((file, stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in about)
