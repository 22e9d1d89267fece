"""An exponential moving average of the parameters that train."""

import jax
import optax

from gcl_jax.optim.labels import FROZEN, trained_leaves
from gcl_jax.typing import PyTree


def init_ema(params: PyTree, labels: PyTree, decay: float) -> PyTree:
    """The average before the first step: the trained part of ``params``, or {} where ``decay`` is 0 (off)."""
    return trained_leaves(params, labels) if decay else {}


def update_ema(ema: PyTree, params: PyTree, labels: PyTree, decay: float) -> PyTree:
    """ema <- decay * ema + (1 - decay) * params, of what trains; {} where ``decay`` is 0.

    >>> import jax.numpy as jnp
    >>> params, labels = {"w": jnp.ones(1), "b": jnp.ones(1)}, {"w": "group0", "b": FROZEN}
    >>> update_ema({"w": jnp.zeros(1)}, params, labels, 0.75)["w"].tolist()
    [0.25]
    """
    return optax.incremental_update(trained_leaves(params, labels), ema, 1 - decay) if decay else {}


def with_ema(params: PyTree, ema: PyTree) -> PyTree:
    """``params``, of which those in ``ema`` are the averages: what is evaluated and exported.

    >>> with_ema({"head": {"w": 1, "b": 2}}, {"head": {"w": 5}})
    {'head': {'w': 5, 'b': 2}}
    """
    if not isinstance(params, dict):
        return ema
    return {name: with_ema(leaf, ema[name]) if name in ema else leaf for name, leaf in params.items()}


def keep_frozen(params: PyTree, before: PyTree, labels: PyTree) -> PyTree:
    """``params``, with what is frozen as it was ``before``."""
    return jax.tree.map(lambda new, old, label: old if label == FROZEN else new, params, before, labels)
