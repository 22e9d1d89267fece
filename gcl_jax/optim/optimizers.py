"""Optimizers by name, over labeled parameters: optax's own parts, and what is frozen masked by `optax.set_to_zero`."""

import dataclasses
from collections.abc import Mapping

import jax
import optax

from gcl_jax.errors import UserError, require
from gcl_jax.optim.labels import FROZEN, ParamGroup
from gcl_jax.registry import OptionRegistry, option
from gcl_jax.typing import PyTree

BELOW_1 = "[0, 0.9999999]"  # nearer to 1 it is 1 in float32


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Base of all optimizers; its `registry.option` fields are keys of a stage's optimizer block.

    `direction` turns gradients into u, from which `make_optimizer` makes w <- w - lr_mult * rate * u.
    """

    def direction(self, weight_decay: float) -> optax.GradientTransformation:
        """The transformation of gradients into u, with ``weight_decay``, of parameters that share a label."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
    """SGD as torch's: v <- momentum * v + (g + wd * w); u = v, or g + wd * w + momentum * v with ``nesterov``.

    The decay is coupled, and on every parameter.
    """

    momentum: float = option(0.9, BELOW_1)
    nesterov: bool = option(False)

    def __post_init__(self) -> None:
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")

    def direction(self, weight_decay: float) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(weight_decay), optax.trace(decay=self.momentum, nesterov=self.nesterov)
        )


def _matrices(params: PyTree) -> PyTree:
    """True for what is decayed where biases, norms and scales are not: arrays of two dimensions and more."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


@dataclasses.dataclass(frozen=True)
class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2019): u = m / (sqrt(v) + eps) + wd * w; vectors (biases, norms) have no decay."""

    beta1: float = option(0.9, BELOW_1)
    beta2: float = option(0.999, BELOW_1)
    eps: float = option(1e-8, "[1e-30, 1)")

    def __post_init__(self) -> None:
        require(0 <= self.beta1 < 1, "beta1", self.beta1, "in [0, 1)")
        require(0 <= self.beta2 < 1, "beta2", self.beta2, "in [0, 1)")
        require(0 < self.eps < 1, "eps", self.eps, "in (0, 1)")

    def direction(self, weight_decay: float) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(self.beta1, self.beta2, self.eps), optax.add_decayed_weights(weight_decay, _matrices)
        )


@dataclasses.dataclass(frozen=True)
class LAMB(AdamW):
    """LAMB (You et al. 2020), for large batches: AdamW's u, scaled by ||w|| / ||u|| of each array."""

    def direction(self, weight_decay: float) -> optax.GradientTransformation:
        return optax.chain(super().direction(weight_decay), optax.scale_by_trust_ratio())


OPTIMIZERS: OptionRegistry[Optimizer] = OptionRegistry("optimizer", {"sgd": SGD, "adamw": AdamW, "lamb": LAMB})


def scale_by_rate(lr_mult: float) -> optax.GradientTransformationExtraArgs:
    """u -> -lr_mult * ``learning_rate`` * u; the rate is an argument of ``update``, so that the step alone sets it."""

    def update(updates, state, params=None, *, learning_rate, **others):
        del params, others
        return jax.tree.map(lambda u: (-lr_mult * learning_rate) * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def make_optimizer(
    optimizer: Optimizer,
    labels: Mapping,
    groups: Mapping[str, ParamGroup],
    *,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """``optimizer`` over a complete parameter tree: ``update(grads, state, params, learning_rate=rate)``.

    ``labels`` mirrors the parameters with the name of a group, or `FROZEN`, at each leaf. What is frozen has the update
    0 and no optimizer state. ``clip_norm`` > 0 clips the gradient by its global norm, over all that trains.

    Raises UserError for a label that is no group.

    >>> tx = make_optimizer(SGD(), {"w": "all", "b": FROZEN}, {"all": ParamGroup()})
    >>> params = {"w": jax.numpy.ones(2), "b": jax.numpy.ones(2)}
    >>> updates, _ = tx.update(params, tx.init(params), params, learning_rate=0.5)
    >>> updates["w"].tolist(), updates["b"].tolist()
    ([-0.5, -0.5], [0.0, 0.0])
    """
    if unknown := sorted(set(jax.tree.leaves(labels)) - {*groups, FROZEN}):
        raise UserError(f"parameters are labeled {unknown[0]!r}, which is no group of {', '.join(groups)}")
    by_group = optax.partition(
        {
            name: optax.chain(
                optimizer.direction(weight_decay if group.weight_decay is None else group.weight_decay),
                scale_by_rate(group.lr_mult),
            )
            for name, group in groups.items()
        },
        jax.tree.map(lambda label: optax.MaskedNode() if label == FROZEN else label, labels),
    )
    trained = optax.chain(optax.clip_by_global_norm(clip_norm), by_group) if clip_norm > 0 else by_group
    parts = jax.tree.map(lambda label: FROZEN if label == FROZEN else "trained", labels)
    return optax.partition({"trained": trained, FROZEN: optax.set_to_zero()}, parts)
