"""Learning-rate schedules and SGD by parameter group."""

from collections.abc import Mapping

import numpy as np
import optax
from flax import traverse_util

from gcl_jax.errors import UserError, require_one_of
from gcl_jax.methods.base import Group

SCHEDULES = ("step", "cosine", "constant")


def epoch_learning_rates(
    *,
    learning_rate: float,
    schedule: str,
    epochs: int,
    warmup_percent: float = 0.0,
    warmup_start: float = 0.0,
    boundaries_percent: tuple[float, ...] = (),
    decay_factors: tuple[float, ...] = (),
) -> np.ndarray:
    """Learning rate of every epoch, float64[epochs]; all durations are percents of the stage.

    step:     lr * factor of the last boundary passed (epoch e, from 1, passes at e > boundary); the other
              schedules have no boundaries, so that --config...schedule=cosine is a whole override
    cosine:   lr / 2 * (1 + cos(pi * (e - 1) / epochs)): the first epoch has the full rate
    constant: lr
    Warm-up: lr * (a + (1 - a) * e / W) in the first W = ceil(warmup_percent of epochs), with a = ``warmup_start``
    (0 in LDAM's code, with W = 5 of 200).

    Raises UserError for an unknown schedule or unpaired boundaries and factors.

    >>> rates = epoch_learning_rates(
    ...     learning_rate=0.1, schedule="step", epochs=10, boundaries_percent=(80.0,), decay_factors=(0.1,)
    ... )
    >>> rates[-3:].round(3).tolist()
    [0.1, 0.01, 0.01]
    """
    if len(boundaries_percent) != len(decay_factors):
        raise UserError(
            f"boundaries_percent has {len(boundaries_percent)} entries and decay_factors {len(decay_factors)}: "
            "give one factor for each boundary"
        )
    if list(boundaries_percent) != sorted(boundaries_percent) or not all(0 <= b <= 100 for b in boundaries_percent):
        raise UserError(f"boundaries_percent is {tuple(boundaries_percent)}; it must rise and lie in 0..100")
    if not 0 <= warmup_percent <= 100:
        raise UserError(f"warmup_percent is {warmup_percent}; it must lie in 0..100")
    if not 0 <= warmup_start <= 1:
        raise UserError(f"warmup_start is {warmup_start}; it must lie in 0..1")
    require_one_of("schedule", schedule, SCHEDULES)
    e = np.arange(1, epochs + 1)
    rates = np.full(epochs, float(learning_rate))
    if schedule == "step":
        for boundary, factor in zip(boundaries_percent, decay_factors, strict=True):
            # The tolerance keeps 48.67 % of 1241 epochs on the right side of epoch 604.
            rates[e > boundary * epochs / 100 + 1e-6] = learning_rate * factor
    elif schedule == "cosine":
        rates = 0.5 * learning_rate * (1 + np.cos(np.pi * (e - 1) / max(epochs, 1)))
    warmup = int(np.ceil(warmup_percent * epochs / 100 - 1e-6))
    rates[:warmup] = learning_rate * (warmup_start + (1 - warmup_start) * e[:warmup] / max(warmup, 1))
    return rates


def sgd(
    schedule: optax.Schedule,
    labels: Mapping,
    groups: Mapping[str, Group],
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
) -> optax.GradientTransformation:
    """SGD as torch's: v <- momentum * v + (g + wd * w); w <- w - lr * v; coupled decay, on every parameter.

    ``labels`` mirrors the trainable parameters with a group name at each leaf; each group has its
    own learning-rate factor and weight decay. ``clip_norm`` > 0 clips the raw gradient's global norm.

    Raises UserError for a label that is no group.
    """
    unknown = sorted(set(traverse_util.flatten_dict(labels).values()) - set(groups))
    if unknown:
        raise UserError(f"the method puts parameters in group {unknown[0]!r}, which its groups() does not list")
    transforms = {
        name: optax.chain(
            optax.add_decayed_weights(weight_decay if group.weight_decay is None else group.weight_decay),
            optax.trace(decay=momentum, nesterov=nesterov),
            optax.scale_by_schedule(lambda count, factor=group.lr_factor: -factor * schedule(count)),
        )
        for name, group in groups.items()
    }
    by_group = optax.partition(transforms, labels)
    return optax.chain(optax.clip_by_global_norm(clip_norm), by_group) if clip_norm > 0 else by_group
