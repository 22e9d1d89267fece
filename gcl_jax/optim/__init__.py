"""How parameters are updated: which ones train (`labels`), by what rule (`optimizers`), at what rate (`schedules`)."""

from gcl_jax.optim.ema import init_ema, keep_frozen, update_ema, with_ema
from gcl_jax.optim.labels import (
    FROZEN,
    ParamGroup,
    apply_updates,
    label_params,
    param_groups,
    parse_rules,
    stop_frozen,
    trained_leaves,
)
from gcl_jax.optim.optimizers import LAMB, OPTIMIZERS, SGD, AdamW, Optimizer, make_optimizer
from gcl_jax.optim.schedules import SCHEDULES, ScheduleFields, epoch_learning_rates, make_schedule

__all__ = [
    "FROZEN", "LAMB", "OPTIMIZERS", "SCHEDULES", "SGD", "AdamW", "Optimizer", "ParamGroup", "ScheduleFields",
    "apply_updates", "epoch_learning_rates", "init_ema", "keep_frozen", "label_params", "make_optimizer",
    "make_schedule", "param_groups", "parse_rules", "stop_frozen", "trained_leaves", "update_ema", "with_ema",
]  # fmt: skip
