"""Building blocks of config files.

A config file builds a ``ConfigDict`` from the functions here, so that every key exists, has a
type and can be overridden. Methods, samplers, losses, the step and the loop read no config.
"""

import contextlib
import dataclasses
import difflib
import functools
import math
import operator
from collections.abc import Iterator, Mapping

from ml_collections import ConfigDict

from gcl_jax.data import PHOTOGRAPH_SOURCES
from gcl_jax.errors import UserError, did_you_mean, require_one_of
from gcl_jax.methods import METHODS
from gcl_jax.sampling import SAMPLERS

# The fields of every block with their defaults. Tuples, never lists or None: those can't be overridden.
# Keys that do not change what is trained are named in identity.py, too.
PHOTOS = {
    "train_list": "",  # list: FILE of lines "relative/path label", or iNaturalist's annotations (.json)
    "test_list": "",
    "validation_list": "",  # "" = none
    "counts": "",  # profile counts: FILE.json, a list of one number a class
    "size": 224,  # edge of the square that the network sees
    "resize": 256,  # the shorter side before the centre crop of evaluation
    "color_jitter": (0.0, 0.0, 0.0),  # brightness, contrast, saturation: factors from 1 - x to 1 + x
    "on_bad_image": "error",  # error | skip (counted in result.json)
    "allow_outside": False,  # list, folder, packed: files outside data.path, by `..`, absolute paths and links
}
DATA = {
    "source": "digits",  # digits | arrays | tfds | list | folder | packed | tfds_list
    "name": "digits",  # the data set's name; for tfds and tfds_list, which one
    "path": "",  # arrays: FILE.npz; tfds, tfds_list: its data_dir ("" = the default one); others: a folder
    "loader": "device",  # device | host
    "profile": "exponential",  # exponential | step | pareto | counts (see photos.counts) | none (as the data are)
    "imbalance_ratio": 100.0,  # n_max / n_min
    "subset_seed": 0,  # fixed by the protocol
    "validation_fraction": 0.0,  # of each class's training images
    "crop_padding": 4,
    "flip": True,
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2023, 0.1994, 0.2010),
    "photos": PHOTOS,
}
OPTIMIZER = {
    "learning_rate": 0.1,
    "reference_batch_size": 0,  # linear scaling: rate * batch_size / reference_batch_size; 0 = off
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 2e-4,  # coupled, on every trained parameter
    "clip_norm": 0.0,  # 0 = off
    "schedule": "step",  # step | cosine | constant
    "warmup_percent": 0.0,  # of the stage's epochs
    "warmup_start": 0.0,  # the factor from which it rises
    "boundaries_percent": (),
    "decay_factors": (),
}
STAGE = {
    "method": {},
    "sampler": {},
    "epochs": 200,
    "batch_size": 64,
    "micro_batches": 1,  # parts of a batch that pass one after the other, for want of memory; batch norm sees a part
    "bn": "train",  # train | frozen (running statistics in training, too) | stats_only (they update, the rest stays)
    "bn_scope": "",  # a block of a ResNet for photographs: bn is for it alone, and frozen elsewhere
    "optimizer": OPTIMIZER,
    "init_from": "",  # "" = the stage before; a workdir of another run; or a file of torch names
}
TOP = {
    "stages": (),
    "data": DATA,
    # remat: the backward pass of a ResNet for photographs computes each block again, to save memory.
    "model": {"name": "resnet32", "remat": False},
    "seed": 0,
    "num_seeds": 1,  # seeds seed, seed + 1, ...
    "seeds_at_once": 0,  # side by side in one program; 0 = as many as have devices to themselves
    "steps_per_call": 0,  # train steps per dispatch; 0 = by backend: 1 on CPU
    "precision": "float32",  # float32 | tf32 | bf16
    "eval": {"every_epochs": 1, "batch_size": 0},  # 0 = by backend: 256 on CPU, 1024 elsewhere
    # A key of a stage of 0 epochs, chosen from a grid on training images held out ("" = off): see tuning.py.
    "tuning": {"key": "", "grid": (), "validation_fraction": 0.1},
    # After training: tau of z - tau * log(prior), 0 = off; alpha of De-confound-TDE, -1 = its method's.
    "posthoc": {"logit_adjustment": 0.0, "alpha": -1.0},
    "log": {"every_steps": 50, "tensorboard": False},
    # every_minutes: besides every_steps, 0 = off; keep_best: also the best on validation images, where there are such.
    "checkpoint": {"every_steps": 1000, "every_minutes": 0.0, "keep": 2, "keep_best": True},
    # Numbers that are not finite: stop | skip (go back and leave that batch out, at most so many times a stage).
    "non_finite": {"action": "stop", "most_skips": 10},
    "debug_nans": False,
}
PRECISIONS = ("float32", "tf32", "bf16")


def experiment(*, stages: Mapping[str, Mapping], **blocks) -> ConfigDict:
    """A whole config: ``stages`` {name: `stage` block} in order, and overrides of the top-level blocks.

    >>> c = experiment(stages={"representation": stage(method("cross_entropy"), sampler("instance"))}, seed=3)
    >>> c.stages, c.seed, c.representation.batch_size
    (('representation',), 3, 64)
    """
    return ConfigDict(
        _fill(TOP, {**blocks, "stages": tuple(stages)}, "config") | {k: dict(v) for k, v in stages.items()}
    )


def stage(method: Mapping, sampler: Mapping, **fields) -> dict:
    """One stage's block; ``fields`` override the defaults of `STAGE`."""
    return _fill(STAGE, {**fields, "method": method, "sampler": sampler}, "stage")


def method(name: str, **hyperparameters) -> dict:
    """A method's block: its name and every hyper-parameter, so that each can be overridden.

    >>> method("cross_entropy", mixup_alpha=1)["mixup_alpha"]
    1.0
    """
    return _named(METHODS, name, hyperparameters, "method")


def sampler(name: str, **hyperparameters) -> dict:
    """A sampler's block, like `method`.

    >>> sampler("cben")
    {'name': 'cben', 'a': 0.999, 'b': 0.0009}
    """
    return _named(SAMPLERS, name, hyperparameters, "sampler")


def optimizer(**fields) -> dict:
    """An optimiser's block (SGD); ``fields`` override `OPTIMIZER`."""
    return _fill(OPTIMIZER, fields, "optimizer")


def _named(registry, name, hyperparameters, kind):
    require_one_of(f"{kind}.name", name, registry)
    fields = {f.name: f.default for f in dataclasses.fields(registry[name])}
    return {"name": name, **_fill(fields, hyperparameters, f"{kind} {name!r}")}


def _fill(defaults, given, where):
    for key in given:
        if key not in defaults:
            raise UserError(f"{where} has no key {key!r}{did_you_mean(key, defaults)}")
    filled = {}
    for key, default in defaults.items():
        value = given.get(key, default)
        if isinstance(default, Mapping) and default and isinstance(value, Mapping):
            value = _fill(default, value, key)
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        filled[key] = value
    return filled


def color_jitter(data: Mapping) -> tuple[float, ...]:
    """The colour jitter of a data block: none but for photographs, whose keys alone are part of a stage's identity."""
    return tuple(data["photos"]["color_jitter"]) if data["source"] in PHOTOGRAPH_SOURCES else (0.0, 0.0, 0.0)


def unknown_key(config: ConfigDict, path: str) -> str | None:
    """A one-line complaint if ``path`` (dotted) is no key of ``config``, naming the nearest valid one."""
    block, seen = config, []
    for part in path.split("."):
        if not isinstance(block, ConfigDict):
            return f"config.{path}: config.{'.'.join(seen)} is a value, not a block"
        if part not in block:
            near = difflib.get_close_matches(part, list(block), n=1, cutoff=0.0)
            nearest = f"; the nearest is config.{'.'.join([*seen, near[0]])}" if near else ""
            return f"config.{path} does not exist{nearest}"
        block = block[part]
        seen.append(part)
    return None


def value_at(config: Mapping, path: str) -> object:
    """The value of the dotted key ``path``; KeyError or TypeError where there is none.

    >>> value_at({"a": {"b": 1}}, "a.b")
    1
    """
    return functools.reduce(operator.getitem, path.split("."), config)


def schedule_fields(stage: Mapping) -> dict:
    """What `optim.epoch_learning_rates` takes, from a stage's block; linear scaling (Goyal et al. 2017) is applied."""
    keys = ("learning_rate", "schedule", "warmup_percent", "warmup_start", "boundaries_percent", "decay_factors")
    fields = {key: stage["optimizer"][key] for key in keys} | {"epochs": stage["epochs"]}
    if reference := stage["optimizer"]["reference_batch_size"]:
        fields["learning_rate"] *= stage["batch_size"] / reference
    return fields


def build_method(block: Mapping, where: str = "method"):
    """The method that a block describes; UserError names the culprit under ``where``."""
    return _build(METHODS, block, where)


def build_sampler(block: Mapping, where: str = "sampler"):
    """The sampler that a block describes; UserError names the culprit under ``where``."""
    return _build(SAMPLERS, block, where)


def _build(registry, block, where):
    name = block.get("name")
    require_one_of(f"{where}.name", name, registry)
    fields = {f.name: f.default for f in dataclasses.fields(registry[name])}
    try:
        check_block(block, {"name": "", **fields}, where)
    except UserError as error:
        raise UserError(
            f"{error} (the keys of {name!r} are laid down where the config file names it: edit it there)"
        ) from None
    with naming(f"{where}."):
        return registry[name](**{k: v for k, v in block.items() if k != "name"})


@contextlib.contextmanager
def naming(prefix: str) -> Iterator[None]:
    """Put the config path in front of a UserError raised by code that does not know it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}{error}") from None


def check_block(block: Mapping, defaults: Mapping, where: str) -> None:
    """Raise UserError naming the first key that is missing, unknown or of another type than its default."""
    for key in block:
        if key not in defaults:
            raise UserError(f"{where} has no key {key!r}{did_you_mean(key, defaults)}")
    for key, default in defaults.items():
        if key not in block:
            raise UserError(f"{where}.{key} is missing; gcl_jax.config's builders fill every key")
        value = block[key]
        if isinstance(default, Mapping):
            if not isinstance(value, Mapping | ConfigDict):
                raise UserError(f"{where}.{key} is {value!r}; it must be a block of keys")
            if default:
                check_block(value, default, f"{where}.{key}")
        else:
            _check_type(value, default, f"{where}.{key}")


def _check_type(value, default, where):
    kinds = {float: (float, int), int: (int,), str: (str,), bool: (bool,), tuple: (tuple, list)}[type(default)]
    if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(default, bool)):
        raise UserError(f"{where} is {value!r}; it must be a {type(default).__name__}")
    if isinstance(default, float) and not math.isfinite(value):
        raise UserError(f"{where} is {value}; give a finite number")
    if isinstance(default, tuple) and where != "config.stages":  # the only tuple of names
        for element in value:
            _check_type(element, 0.0, f"an entry of {where}")


def seeds(config: ConfigDict) -> range:
    """The seeds of a run: ``num_seeds`` from ``seed`` on."""
    return range(config.seed, config.seed + config.num_seeds)


def stages_to_run(config: ConfigDict) -> tuple[str, ...]:
    """The stages from the last one on that starts from somewhere else: what comes before it is not needed."""
    first = max((i for i, name in enumerate(config.stages) if config[name].init_from), default=0)
    return config.stages[first:]
