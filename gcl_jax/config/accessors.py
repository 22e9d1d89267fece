"""The objects and values that a run takes from a config: methods, samplers, optimizers, schedules, seeds."""

import contextlib
import dataclasses
import functools
import operator
from collections.abc import Iterator, Mapping
from typing import TypeVar

import optax
from ml_collections import ConfigDict

from gcl_jax import optim
from gcl_jax.config.keys import check_block, check_keys
from gcl_jax.data import holds_photographs
from gcl_jax.errors import UserError, require_one_of
from gcl_jax.gradients import GRADIENT_RULES, GradientRule
from gcl_jax.methods import METHODS, Method
from gcl_jax.ranges import ranges_of
from gcl_jax.sampling import SAMPLERS, Sampler

T = TypeVar("T")


def color_jitter(data: Mapping) -> tuple[float, ...]:
    """The color jitter of a ``data`` block: zeros unless its source holds photographs, since no other source uses it.

    The keys of ``data.photos`` are part of a stage's fingerprint for photographs alone.
    """
    return tuple(data["photos"]["color_jitter"]) if holds_photographs(data["source"]) else (0.0, 0.0, 0.0)


def value_at(config: Mapping, path: str) -> object:
    """The value of the dotted key ``path``; KeyError or TypeError where there is none.

    >>> value_at({"a": {"b": 1}}, "a.b")
    1
    """
    return functools.reduce(operator.getitem, path.split("."), config)


def schedule_fields(stage: Mapping) -> dict:
    """Arguments of `optim.epoch_learning_rates` from a stage's block, linear scaling (Goyal et al. 2017) applied."""
    keys = ("learning_rate", "schedule", "warmup_percent", "warmup_start", "boundaries_percent", "decay_factors")
    fields = {key: stage["optimizer"][key] for key in keys} | {"epochs": stage["epochs"]}
    if reference := stage["optimizer"]["reference_batch_size"]:
        fields["learning_rate"] *= stage["batch_size"] / reference
    return fields


def make_schedule(stage: Mapping, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate of a stage's block as a function of the step; UserError where its fields do not fit."""
    fields = schedule_fields(stage)
    return optim.make_schedule(fields.pop("schedule"), optim.ScheduleFields(steps_per_epoch=steps_per_epoch, **fields))


def build_optimizer(block: Mapping, where: str = "optimizer") -> optim.Optimizer:
    """The optimizer that a block describes; UserError names the wrong key, be it one of another optimizer."""
    optim.OPTIMIZERS.chosen(block, where)
    with prefix_errors(f"{where}."):
        return optim.OPTIMIZERS.build(block, where)


def build_gradient_rule(block: Mapping, where: str = "gradient") -> GradientRule:
    """The gradient rule that a block describes; UserError names the wrong key, be it one of another rule."""
    GRADIENT_RULES.chosen(block, where)
    with prefix_errors(f"{where}."):
        return GRADIENT_RULES.build(block, where)


def build_method(block: Mapping, where: str = "method") -> Method:
    """The method that a block describes; UserError names the wrong key, with ``where`` before it."""
    return _build(METHODS, block, where)


def build_sampler(block: Mapping, where: str = "sampler") -> Sampler:
    """The sampler that a block describes; UserError names the wrong key, with ``where`` before it."""
    return _build(SAMPLERS, block, where)


def _build(registry: Mapping[str, type[T]], block: Mapping, where: str) -> T:
    require_one_of(f"{where}.name", block.get("name"), registry)
    name = block["name"]
    cls: type = registry[name]
    fields = {"name": ""} | {f.name: f.default for f in dataclasses.fields(cls)}
    try:
        check_keys(block, fields, where)
    except UserError as error:
        raise UserError(
            f"{error} (the keys of {name!r} are laid down where the config file names it: edit it there)"
        ) from None
    check_block(block, fields, where, ranges_of(cls))
    with prefix_errors(f"{where}."):
        return cls(**{k: v for k, v in block.items() if k != "name"})


@contextlib.contextmanager
def prefix_errors(prefix: str) -> Iterator[None]:
    """A context that puts ``prefix``, a path in the config, before the text of a UserError raised in it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}{error}") from None


def seeds(config: ConfigDict) -> range:
    """The seeds of a run: ``num_seeds`` from ``seed`` on."""
    return range(config.seed, config.seed + config.num_seeds)


def stages_to_run(config: ConfigDict) -> tuple[str, ...]:
    """The stages that a run trains: from the last one with ``init_from`` on, which needs none of those before it."""
    first = max((i for i, name in enumerate(config.stages) if config[name].init_from), default=0)
    return config.stages[first:]
