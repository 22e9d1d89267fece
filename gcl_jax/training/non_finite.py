"""Numbers that are not finite: detected on the device at the step that makes them, and steps skipped for them.

Each update counts the non-finite numbers in its results, and the state records the first step that has any: the host
fetches that record with the metrics of a log line and at a checkpoint, and at no other time. `skip_nonfinite` undoes
such a step.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gcl_jax.checkpoints.checkpoint import flatten
from gcl_jax.training.train_state import TrainState
from gcl_jax.typing import PyTree

MAX_NAMES = 10  # of arrays, in a report


def empty_record(params: PyTree, model_state: PyTree, method_state: PyTree) -> dict[str, jax.Array]:
    """The record before the first step: {"step": 0, "loss", "counts": of each array of the three trees}.

    ``params`` are those that train.
    """
    arrays = len(jax.tree.leaves((params, model_state, method_state)))
    return {"step": jnp.int32(0), "loss": jnp.float32(0), "counts": jnp.zeros(arrays, jnp.int32)}


def record_first(
    first_nonfinite: Mapping[str, jax.Array], step: jax.Array, metrics: Mapping[str, jax.Array], updated: PyTree
) -> dict[str, jax.Array]:
    """``first_nonfinite``, or this step's record where it is the first with a number that is not finite.

    ``updated`` is (trained params, model_state, method_state) after the update: a gradient that is not finite shows
    there. While no step has been recorded, "loss" is that of the newest step.
    """
    counts = _counts(updated)
    is_bad = jnp.any(counts > 0) | ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(v)) for v in metrics.values()]))
    is_empty = first_nonfinite["step"] == 0
    now = {"step": step, "loss": metrics["loss"].astype(jnp.float32), "counts": counts}
    replaced = {"step": is_bad & is_empty, "loss": is_empty, "counts": is_bad & is_empty}
    return {name: jnp.where(replaced[name], now[name], first_nonfinite[name]) for name in now}


def _counts(tree: PyTree) -> jax.Array:
    """The number of non-finite values in each array, int32[arrays]."""
    counts = [jnp.sum(~jnp.isfinite(leaf), dtype=jnp.int32) for leaf in jax.tree.leaves(tree)]
    return jnp.stack(counts) if counts else jnp.zeros(0, jnp.int32)


def _not_recorded(state: TrainState) -> dict:
    """The results of an update that `record_first` does not count."""
    return {"opt_state": state.opt_state, "ema": state.ema}


def empty_skip_record(max_skips: int, state: TrainState) -> dict[str, jax.Array]:
    """The record of skipped steps before the first: {"count", "steps", "loss", "counts": [., arrays]}.

    With a place for ``max_skips`` of them and for one too many.
    """
    arrays = len(state.first_nonfinite["counts"]) + len(jax.tree.leaves(_not_recorded(state)))
    return {
        "count": jnp.int32(0),
        "steps": jnp.zeros(max_skips + 1, jnp.int32),
        "loss": jnp.zeros(max_skips + 1, jnp.float32),
        "counts": jnp.zeros((max_skips + 1, arrays), jnp.int32),
    }


def resumed_skip_record(skipped: Mapping[str, jax.Array], steps: Sequence[int]) -> dict[str, jax.Array]:
    """The record ``skipped`` of a resumed run that has skipped ``steps``, which are at most as many as its places."""
    past = np.zeros(len(skipped["steps"]), np.int32)
    past[: len(steps)] = steps
    return {**skipped, "count": jnp.int32(len(steps)), "steps": jnp.asarray(past)}


def skip_nonfinite(
    update: Callable[[TrainState, Any, Any], TrainState], restarts: Callable[[jax.Array], jax.Array]
) -> Callable[[TrainState, Any, Any], TrainState]:
    """Wrap ``update``: a step with a loss or array that is not finite leaves the state unchanged.

    As ``optax.apply_if_finite`` does for an optimizer's state. Only the step is counted, and recorded in
    ``state.skipped`` (`empty_skip_record`): the optimizer's counts do not advance, and no learning rate is shifted.
    ``restarts(step)`` says whether the metric sums begin anew with the update of ``step``.
    """

    def update_or_skip(state: TrainState, inputs: Any, row: Any) -> TrainState:
        after = update(state, inputs, row)
        assert state.skipped is not None
        record = after.first_nonfinite
        counts = jnp.concatenate([record["counts"], _counts(_not_recorded(after))])
        is_bad = (record["step"] > 0) | jnp.any(counts > 0)
        count = state.skipped["count"]
        restart = restarts(state.step)
        skipped_state = state.replace(
            step=after.step,
            metric_sums=jax.tree.map(lambda x: jnp.where(restart, 0, x), state.metric_sums),
            skipped={
                "count": count + 1,
                "steps": state.skipped["steps"].at[count].set(after.step, mode="drop"),
                "loss": state.skipped["loss"].at[count].set(record["loss"], mode="drop"),
                "counts": state.skipped["counts"].at[count].set(counts, mode="drop"),
            },
        )
        after = after.replace(
            first_nonfinite=state.first_nonfinite, skipped=state.skipped
        )  # as in skipped_state where nothing is recorded
        return jax.tree.map(lambda skip, new: jnp.where(is_bad, skip, new), skipped_state, after)

    return update_or_skip


def array_names(
    params: PyTree, model_state: PyTree, method_state: PyTree, state: TrainState | None = None
) -> list[str]:
    """Names of the arrays that an `empty_record` counts; with ``state``, those that an `empty_skip_record` counts."""
    trees = [{"params": params}, model_state, {"method_state": method_state}]
    trees += [{name: tree} for name, tree in _not_recorded(state).items()] if state is not None else []
    return [name for tree in trees for name in flatten(tree)]


def report(counts: Mapping[str, int], names: Sequence[str]) -> dict:
    """A summary for people: arrays and non-finite numbers of each kind, and the first names.

    ``counts`` {name: how many of its numbers are not finite} has some of ``names``.

    >>> names = ["params/head/bias", "params/head/kernel", "batch_stats/bn/mean"]
    >>> report({"params/head/kernel": 3}, names)
    {'kinds': {'params of head': {'arrays': 1, 'of': 2, 'numbers': 3}}, 'first': ['params/head/kernel']}
    """

    def kind(name: str) -> str:
        collection, part, *_ = name.split("/")
        return f"params of {part}" if collection == "params" else collection

    totals = Counter(map(kind, names))
    kinds: dict[str, dict[str, int]] = {}
    for name, count in counts.items():
        entry = kinds.setdefault(kind(name), {"arrays": 0, "of": totals[kind(name)], "numbers": 0})
        entry["arrays"] += 1
        entry["numbers"] += count
    return {"kinds": kinds, "first": list(counts)[:MAX_NAMES]}
