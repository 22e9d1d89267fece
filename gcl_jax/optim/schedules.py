"""Learning-rate schedules: functions of the step, most of them with one rate an epoch, as the papers have it."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax

from gcl_jax.errors import UserError, require_one_of
from gcl_jax.registry import Registry


@dataclasses.dataclass(frozen=True)
class ScheduleFields:
    """What a schedule is made of: keys of a stage's optimizer block, and how long the stage is."""

    learning_rate: float
    epochs: int
    steps_per_epoch: int
    warmup_percent: float = 0.0  # of the stage
    warmup_start: float = 0.0  # the factor from which the rate rises
    boundaries_percent: tuple[float, ...] = ()
    decay_factors: tuple[float, ...] = ()


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

    - step: lr * factor of the last boundary passed (epoch e, from 1, passes at e > boundary); the other schedules
      have no boundaries, so that --config...schedule=cosine is a whole override
    - cosine: lr / 2 * (1 + cos(pi * (e - 1) / epochs)): the first epoch has the full rate
    - constant: lr

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
    _check_warmup(warmup_percent, warmup_start)
    require_one_of("schedule", schedule, PER_EPOCH)
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


def _check_warmup(percent: float, start: float) -> None:
    if not 0 <= percent <= 100:
        raise UserError(f"warmup_percent is {percent}; it must lie in 0..100")
    if not 0 <= start <= 1:
        raise UserError(f"warmup_start is {start}; it must lie in 0..1")


def _per_epoch(name: str, fields: ScheduleFields) -> optax.Schedule:
    """The table of `epoch_learning_rates` as a function of the (traced) step; past the end its last entry."""
    given = dataclasses.asdict(fields)
    steps_per_epoch = given.pop("steps_per_epoch")
    rates = epoch_learning_rates(schedule=name, **given).astype(np.float32)
    return lambda step: jnp.asarray(rates)[jnp.minimum(step // steps_per_epoch, len(rates) - 1)]


def cosine_by_step(fields: ScheduleFields) -> optax.Schedule:
    """Linear warm-up from ``warmup_start`` * rate and a cosine down to 0, both by step, over the whole stage."""
    _check_warmup(fields.warmup_percent, fields.warmup_start)
    steps = max(fields.epochs * fields.steps_per_epoch, 1)
    warmup = int(np.ceil(fields.warmup_percent * steps / 100 - 1e-6))
    if not warmup:
        return optax.cosine_decay_schedule(fields.learning_rate, steps)
    start = fields.warmup_start * fields.learning_rate
    return optax.warmup_cosine_decay_schedule(start, fields.learning_rate, warmup, max(steps, warmup + 1))


PER_EPOCH = ("step", "cosine", "constant")
SCHEDULES: Registry[Callable[[ScheduleFields], optax.Schedule]] = Registry(
    "schedule", {**{name: partial(_per_epoch, name) for name in PER_EPOCH}, "cosine_by_step": cosine_by_step}
)


def make_schedule(schedule: str, fields: ScheduleFields) -> optax.Schedule:
    """The schedule called ``schedule``: step, counted from 0 and traced or not, -> learning rate float32.

    Raises UserError for a name that is not registered, and for fields that do not fit.

    >>> schedule = make_schedule("cosine_by_step", ScheduleFields(0.1, epochs=1, steps_per_epoch=10))
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10)]
    [0.1, 0.05, 0.0]
    """
    require_one_of("schedule", schedule, SCHEDULES)
    return SCHEDULES[schedule](fields)
