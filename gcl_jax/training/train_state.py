"""The state of training: everything that a step changes."""

import jax
from flax import struct

from gcl_jax.typing import PyTree


class TrainState(struct.PyTreeNode):
    """State of a stage; donated to the step.

    ``params`` is the complete tree; frozen parameters have no gradient and no optimizer state, and never change a bit.
    ``model_state`` is {collection: tree} of everything mutable in the network, such as "batch_stats". ``ema`` holds the
    averages of the parameters that train, or nothing. ``metric_sums`` holds running sums since the last logged step, so
    that a logged mean does not depend on where a run was interrupted. ``first_nonfinite`` is `non_finite`'s record of
    the first
    step after which a number was not finite; there is none in a checkpoint. ``skipped`` is its record of the steps that
    were skipped, where the config says to skip; a checkpoint's note has their numbers.
    """

    step: jax.Array  # int32, updates done in this stage
    params: PyTree
    model_state: dict[str, PyTree]
    opt_state: PyTree
    method_state: PyTree
    ema: PyTree
    metric_sums: dict[str, jax.Array]
    first_nonfinite: dict[str, jax.Array]
    skipped: dict[str, jax.Array] | None = None


def to_save(state: TrainState) -> dict[str, PyTree]:
    """A checkpoint's tree: the state, but for the records of what was not finite; collections side by side."""
    return {
        "step": state.step,
        "params": state.params,
        **state.model_state,
        "opt_state": state.opt_state,
        "method_state": state.method_state,
        "ema": state.ema,
        "metric_sums": state.metric_sums,
    }


def from_saved(tree: dict[str, PyTree], first_nonfinite: dict[str, jax.Array]) -> TrainState:
    """The inverse of `to_save`."""
    fields = ("step", "params", "opt_state", "method_state", "ema", "metric_sums")
    model_state = {name: part for name, part in tree.items() if name not in fields}
    return TrainState(model_state=model_state, first_nonfinite=first_nonfinite, **{name: tree[name] for name in fields})
