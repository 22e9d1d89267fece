"""What changes during training, and the cut between trainable and frozen parameters."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import struct, traverse_util

Tree = Any


@struct.dataclass
class TrainState:
    """State of a stage; donated to the step.

    ``params`` is the trainable sub-tree only: what is frozen is a plain argument of the step and
    has no gradient and no momentum. ``tally`` holds running sums since the last logged step,
    so that a logged mean does not depend on where a run was cut. ``trouble`` is `non_finite`'s record of the first step
    after which a number was not finite; there is none in a checkpoint.
    """

    step: jax.Array  # int32, updates done in this stage
    params: Tree
    batch_stats: Tree
    opt_state: Tree
    method_state: Tree
    tally: dict[str, jax.Array]
    trouble: dict[str, jax.Array]


def split(params: Mapping, group: Callable[[tuple[str, ...]], str | None]) -> tuple[dict, dict, dict]:
    """Cut a parameter tree into (trainable, frozen, labels): frozen where ``group(path)`` is None.

    >>> split({"head": {"kernel": 1}, "backbone": {"w": 2}}, lambda p: "head" if p[0] == "head" else None)
    ({'head': {'kernel': 1}}, {'backbone': {'w': 2}}, {'head': {'kernel': 'head'}})
    """
    flat = traverse_util.flatten_dict(params)
    labels = {path: name for path in flat if (name := group(path)) is not None}
    trainable = {path: flat[path] for path in labels}
    frozen = {path: leaf for path, leaf in flat.items() if path not in labels}
    return tuple(traverse_util.unflatten_dict(part) for part in (trainable, frozen, labels))


def merge(trainable: Mapping, frozen: Mapping) -> dict:
    """The inverse of `split`.

    >>> merge({"head": {"kernel": 1}}, {"backbone": {"w": 2}})
    {'head': {'kernel': 1}, 'backbone': {'w': 2}}
    """
    return traverse_util.unflatten_dict(traverse_util.flatten_dict(trainable) | traverse_util.flatten_dict(frozen))
