"""Configs: the blocks that config files are made of, their keys, and the objects that are built from them.

`validation` checks a whole config, `stage_fingerprint` tells which keys determine a stage's parameters, `migrate` reads
the configs of older versions.
"""

from gcl_jax.config.accessors import (
    build_gradient_rule,
    build_method,
    build_optimizer,
    build_sampler,
    color_jitter,
    make_schedule,
    prefix_errors,
    schedule_fields,
    seeds,
    stages_to_run,
    value_at,
)
from gcl_jax.config.blocks import experiment, method, optimizer, sampler, stage
from gcl_jax.config.keys import (
    DATA,
    OPTIMIZER,
    PHOTOS,
    PRECISIONS,
    RANGES,
    STAGE,
    STAGE_RANGES,
    TOP,
    check_block,
    check_keys,
)
from gcl_jax.config.unknown import unknown_key

__all__ = [
    "DATA", "OPTIMIZER", "PHOTOS", "PRECISIONS", "RANGES", "STAGE", "STAGE_RANGES", "TOP", "build_gradient_rule",
    "build_method", "build_optimizer", "build_sampler", "check_block", "check_keys", "color_jitter", "experiment",
    "make_schedule", "method", "optimizer", "prefix_errors", "sampler", "schedule_fields", "seeds", "stage",
    "stages_to_run", "unknown_key", "value_at",
]  # fmt: skip
