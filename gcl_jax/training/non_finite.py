"""Numbers that are not finite: found at the very step on the device, told where it is noticed, and written down.

Each update counts what is not finite in all it made, and the first step at which anything is not stays in the state:
nothing is fetched for it but with a log line's numbers and at a checkpoint. That step can then be left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

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
    """
    counts = jnp.stack([jnp.sum(~jnp.isfinite(leaf), dtype=jnp.int32) for leaf in jax.tree.leaves(made)])
    bad = jnp.any(counts > 0) | ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(v)) for v in metrics.values()]))
    now = {"step": step, "loss": metrics["loss"].astype(jnp.float32), "counts": counts}
    first = bad & (first_nonfinite["step"] == 0)
    return {name: jnp.where(first, now[name], first_nonfinite[name]) for name in now}


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


def skip(before: TrainState, after: TrainState, left_out: jax.Array, restart: jax.Array) -> TrainState:
    """``after``, or where ``left_out`` the state ``before`` with only its step counted: a batch that never was.

    ``restart`` says that the metric sums begin anew with this step.
    """
    skipped = before.replace(
        step=before.step + 1,
        metric_sums=jax.tree.map(lambda x: jnp.where(restart, 0, x), before.metric_sums),
    )
    return jax.tree.map(lambda a, b: jnp.where(left_out, a, b), skipped, after)
