"""A step's loss: what a method's `loss` returns, reduced, once for each target of a mixed batch."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gcl_jax import losses, rng
from gcl_jax.methods.base import ClassInfo, Method, StepInfo


class Objective(NamedTuple):
    """``loss`` scalar; ``per_example`` [B], whose mean is the loss without ``aux_loss``; the logged ``metrics``."""

    loss: jax.Array
    per_example: jax.Array
    aux_loss: jax.Array | float
    metrics: dict[str, jax.Array]


def objective(
    method: Method, key: jax.Array, out: dict, batch: dict, t: StepInfo | None, info: ClassInfo | None
) -> Objective:
    """The loss of ``out``; where the batch has targets ((labels, weight), ...), sum_i weight_i * loss(labels_i).

    A weight is a scalar or [B]. Each term is a weighted mean with its own normalizer, and has draws of its own; the
    auxiliary loss is the first's. Methods whose ``label_mixing`` is "own" get the batch as it is.

    Raises TypeError for metrics other than `Method.logged`.
    """
    targets = batch.get("targets") if method.label_mixing == "linear" else None
    terms = []
    for place, (labels, weight) in enumerate(targets or ((batch["label"], None),)):
        term = method.loss(rng.fold(key, _name(place)), out, {**batch, "label": labels}, t, info)
        if set(term.metrics) != set(method.logged):
            raise TypeError(f"{type(method).__name__}.loss logs {sorted(term.metrics)}, declared: {method.logged}")
        per_example = term.per_example if weight is None else weight * term.per_example
        share = per_example if term.weight is None else per_example * term.weight / jnp.mean(term.weight)
        metrics = term.metrics if weight is None else {k: jnp.mean(weight) * v for k, v in term.metrics.items()}
        terms.append((losses.weighted_mean(per_example, term.weight), share, dict(metrics), term.aux_loss))
    loss, per_example, metrics = (functools.reduce(_add, part) for part in list(zip(*terms, strict=True))[:3])
    aux_loss = terms[0][3]
    return Objective(loss + aux_loss, per_example, aux_loss, metrics)


def _add(a, b):
    return jax.tree.map(jnp.add, a, b)


def _name(place: int) -> str:
    return ("first", "second")[place] if place < 2 else f"target{place}"
