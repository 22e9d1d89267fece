"""The state of training: everything that a step changes."""

import jax
from flax import struct

from gcl_jax.checkpoints.checkpoint import flatten
from gcl_jax.errors import UserError
from gcl_jax.typing import PyTree


class TrainState(struct.PyTreeNode):
    """State of a stage; donated to the step.

    ``params`` is the complete tree; frozen parameters have no gradient and no optimizer state, and never change a bit.
    ``model_state`` is {collection: tree} of everything mutable in the network, such as "batch_stats". ``ema`` holds the
    averages of the parameters that train, or nothing. ``metric_sums`` holds running sums since the last logged step, so
    that a logged mean does not depend on where a run was interrupted. ``first_nonfinite`` is `non_finite`'s record of
    the first step after which a number was not finite; there is none in a checkpoint. ``skipped`` is its record of the
    steps that were skipped, where the config says to skip; a checkpoint's note has their numbers.
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


# Names of no collection: a checkpoint's other parts, and what is known of the variables in it.
RESERVED = ("step", "params", "opt_state", "method_state", "ema", "metric_sums", "class_names")


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
    model_state = {name: part for name, part in tree.items() if name not in RESERVED}
    fields = {name: tree[name] for name in RESERVED if name in tree}
    return TrainState(model_state=model_state, first_nonfinite=first_nonfinite, **fields)


def require_savable(state: TrainState) -> None:
    """Raise UserError, before any work, for what a checkpoint cannot hold: JAX's key arrays, parameters of 16 bits."""
    for name, leaf in flatten(to_save(state)).items():
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise UserError(
                f"{name} is an array of JAX's keys, which no checkpoint holds: make it with jax.random.PRNGKey, or "
                "keep its jax.random.key_data"
            )
        if name.startswith("params/") and leaf.dtype.itemsize < 4:
            raise UserError(
                f"{name} is of type {leaf.dtype}: parameters are kept in float32, and computed with in "
                "config.precision or the type that the network casts them to"
            )
