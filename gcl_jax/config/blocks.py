"""Building blocks of config files.

A config file builds a ``ConfigDict`` from the functions here, so that every key exists, has a
type and can be overridden. Methods, samplers, losses, the step and the loop read no config.
"""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax.config.accessors import build_method
from gcl_jax.config.keys import OPTIMIZER, STAGE, TOP
from gcl_jax.errors import UserError, did_you_mean, require_one_of
from gcl_jax.methods import METHODS
from gcl_jax.sampling import SAMPLERS


def experiment(*, stages: Mapping[str, Mapping], **blocks: object) -> ConfigDict:
    """A whole config: ``stages`` {name: `stage` block} in order, and overrides of the top-level blocks.

    >>> c = experiment(stages={"representation": stage(method("cross_entropy"), sampler("instance"))}, seed=3)
    >>> c.stages, c.seed, c.representation.batch_size
    (('representation',), 3, 64)
    """
    return ConfigDict(
        _fill(TOP, {**blocks, "stages": tuple(stages)}, "config") | {k: dict(v) for k, v in stages.items()}
    )


def stage(method: Mapping, sampler: Mapping, *, transforms: Mapping | None = None, **fields: object) -> dict:
    """One stage's block; ``fields`` override `STAGE`'s, and the method's head, trainable and restore.

    The block's ``transforms`` has an entry for every stream of the method, so that each can be overridden.
    """
    built = build_method(method)
    defaults = {"trainable": built.trainable, "restore": built.restore} | (
        {"head": built.heads[0]} if built.heads else {}
    )
    by_stream = {name: () for name in built.streams()} | dict(transforms or {})
    blocks = {"method": method, "sampler": sampler, "transforms": by_stream}
    return _fill(STAGE, {**defaults, **fields, **blocks}, "stage")


def method(name: str, **hyperparameters: object) -> dict:
    """A method's block: its name and every hyper-parameter, so that each can be overridden.

    >>> method("cross_entropy", mixup_alpha=1)["mixup_alpha"]
    1.0
    """
    return _named(METHODS, name, hyperparameters, "method")


def sampler(name: str, **hyperparameters: object) -> dict:
    """A sampler's block, like `method`.

    >>> sampler("cben")
    {'name': 'cben', 'a': 0.999, 'b': 0.0009}
    """
    return _named(SAMPLERS, name, hyperparameters, "sampler")


def optimizer(**fields: object) -> dict:
    """An optimizer's block; ``fields`` override `OPTIMIZER`."""
    return _fill(OPTIMIZER, fields, "optimizer")


def _named(registry: Mapping[str, type], name: str, hyperparameters: Mapping[str, object], kind: str) -> dict:
    require_one_of(f"{kind}.name", name, registry)
    fields = {f.name: f.default for f in dataclasses.fields(registry[name])}
    return {"name": name, **_fill(fields, hyperparameters, f"{kind} {name!r}")}


def _fill(defaults: Mapping[str, object], values: Mapping[str, object], where: str) -> dict:
    """``values`` in the types of ``defaults``, completed with these; UserError for a key that ``defaults`` lacks."""
    for key in values:
        if key not in defaults:
            raise UserError(f"{where} has no key {key!r}{did_you_mean(key, defaults)}")
    filled = {}
    for key, default in defaults.items():
        value = values.get(key, default)
        if isinstance(default, Mapping) and default and isinstance(value, Mapping):
            value = _fill(default, value, key)
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        filled[key] = value
    return filled
