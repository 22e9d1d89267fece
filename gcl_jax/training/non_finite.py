"""Numbers that are not finite: found at the very step on the device, and steps that are skipped because of them.

Each update counts what is not finite in all it made, and the first step at which anything is not stays in the state:
nothing is fetched for it but with a log line's numbers and at a checkpoint. `skip_nonfinite` makes such a step one that
never was.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gcl_jax.checkpoints.checkpoint import flatten
from gcl_jax.training.train_state import TrainState

Tree = Any
NAMES = 10  # of arrays that a report lists


def none_yet(params: Tree, model_state: Tree, method_state: Tree) -> dict[str, jax.Array]:
    """The record before the first step: {"step": 0, "loss", "counts": of each array of the three trees}.

    ``params`` are those that train.
    """
    arrays = len(jax.tree.leaves((params, model_state, method_state)))
    return {"step": jnp.int32(0), "loss": jnp.float32(0), "counts": jnp.zeros(arrays, jnp.int32)}


def noted(first_nonfinite: Mapping, step: jax.Array, metrics: Mapping, made: Tree) -> dict[str, jax.Array]:
    """``first_nonfinite``, or if there is none yet and a number of this step's is not finite, what is wrong with it.

    ``made`` is (trained params, model_state, method_state) after the update: a gradient that is not finite shows there.
    While there is none, "loss" is that of the newest step.
    """
    counts = _counts(made)
    bad = jnp.any(counts > 0) | ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(v)) for v in metrics.values()]))
    none = first_nonfinite["step"] == 0
    now = {"step": step, "loss": metrics["loss"].astype(jnp.float32), "counts": counts}
    new = {"step": bad & none, "loss": none, "counts": bad & none}
    return {name: jnp.where(new[name], now[name], first_nonfinite[name]) for name in now}


def _counts(tree: Tree) -> jax.Array:
    """How many numbers of each array are not finite, int32[arrays]."""
    counts = [jnp.sum(~jnp.isfinite(leaf), dtype=jnp.int32) for leaf in jax.tree.leaves(tree)]
    return jnp.stack(counts) if counts else jnp.zeros(0, jnp.int32)


def _also_made(state: TrainState) -> dict:
    """What an update makes and `noted` does not look at."""
    return {"opt_state": state.opt_state, "ema": state.ema}


def none_skipped(max_skips: int, state: TrainState) -> dict[str, jax.Array]:
    """The record of skipped steps before the first: {"count", "steps", "loss", "counts": [., arrays]}.

    With a place for ``max_skips`` of them and for the one that is too much.
    """
    arrays = len(state.first_nonfinite["counts"]) + len(jax.tree.leaves(_also_made(state)))
    return {
        "count": jnp.int32(0),
        "steps": jnp.zeros(max_skips + 1, jnp.int32),
        "loss": jnp.zeros(max_skips + 1, jnp.float32),
        "counts": jnp.zeros((max_skips + 1, arrays), jnp.int32),
    }


def with_skipped(skipped: Mapping, steps: Sequence[int]) -> dict[str, jax.Array]:
    """The record ``skipped`` of a run that goes on, and has skipped ``steps``; at most as many as it has places."""
    known = np.zeros(len(skipped["steps"]), np.int32)
    known[: len(steps)] = steps
    return {**skipped, "count": jnp.int32(len(steps)), "steps": jnp.asarray(known)}


def skip_nonfinite(
    update: Callable[[TrainState, Any, Any], TrainState], restarts: Callable[[jax.Array], jax.Array]
) -> Callable[[TrainState, Any, Any], TrainState]:
    """``update``, whose steps with a loss or array that is not finite leave the state as it was (as optax's
    ``apply_if_finite`` leaves its own).

    Only the step is counted, and noted in ``state.skipped`` (`none_skipped`): the optimizer's counts do not move, and
    no learning rate is shifted. ``restarts(step)`` says whether the metric sums begin anew with the update of ``step``.
    """

    def skipping(state: TrainState, inputs: Any, row: Any) -> TrainState:
        after = update(state, inputs, row)
        record = after.first_nonfinite
        counts = jnp.concatenate([record["counts"], _counts(_also_made(after))])
        bad = (record["step"] > 0) | jnp.any(counts > 0)
        count = state.skipped["count"]
        restart = restarts(state.step)
        kept = state.replace(
            step=after.step,
            metric_sums=jax.tree.map(lambda x: jnp.where(restart, 0, x), state.metric_sums),
            skipped={
                "count": count + 1,
                "steps": state.skipped["steps"].at[count].set(after.step, mode="drop"),
                "loss": state.skipped["loss"].at[count].set(record["loss"], mode="drop"),
                "counts": state.skipped["counts"].at[count].set(counts, mode="drop"),
            },
        )
        after = after.replace(first_nonfinite=state.first_nonfinite, skipped=state.skipped)  # as none is noted there
        return jax.tree.map(lambda old, new: jnp.where(bad, old, new), kept, after)

    return skipping


def array_names(params: Tree, model_state: Tree, method_state: Tree, state: TrainState | None = None) -> list[str]:
    """Names of the arrays that a record counts: of `none_yet`'s, and with ``state`` of `none_skipped`'s."""
    trees = [{"params": params}, model_state, {"method_state": method_state}]
    trees += [{name: tree} for name, tree in _also_made(state).items()] if state is not None else []
    return [name for tree in trees for name in flatten(tree)]


def report(found: Mapping[str, int], names: Sequence[str]) -> dict:
    """What is wrong, for people: arrays and numbers of each kind, and the first names.

    ``found`` {name: how many of its numbers are not finite} is part of ``names``.

    >>> names = ["params/head/bias", "params/head/kernel", "batch_stats/bn/mean"]
    >>> report({"params/head/kernel": 3}, names)
    {'kinds': {'params of head': {'arrays': 1, 'of': 2, 'numbers': 3}}, 'first': ['params/head/kernel']}
    """

    def kind(name):
        first, part, *_ = name.split("/")
        return f"params of {part}" if first == "params" else first

    of, kinds = Counter(map(kind, names)), {}
    for name, count in found.items():
        one = kinds.setdefault(kind(name), {"arrays": 0, "of": of[kind(name)], "numbers": 0})
        one["arrays"] += 1
        one["numbers"] += count
    return {"kinds": kinds, "first": list(found)[:NAMES]}
