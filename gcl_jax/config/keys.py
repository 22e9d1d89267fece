"""The keys of every block with their defaults and ranges, and the check of a block against them."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from gcl_jax import ranges
from gcl_jax.errors import UserError, did_you_mean, shown
from gcl_jax.gradients import GRADIENT_RULES
from gcl_jax.models import BACKBONES
from gcl_jax.optim import OPTIMIZERS
from gcl_jax.ranges import Range

# The fields of every block with their defaults. Tuples, never lists or None: those can't be overridden.
# Keys that do not change what is trained are named in stage_fingerprint.py, too.
PHOTOS = {
    "train_list": "",  # list: FILE of lines "relative/path label", or iNaturalist's annotations (.json)
    "test_list": "",
    "validation_list": "",  # "" = none
    "counts": "",  # profile counts: FILE.json, a list of one number a class
    "size": 224,  # edge of the square that the network sees
    "resize": 256,  # the shorter side before the center crop of evaluation
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
# Blocks with a name also hold the options of everything that is registered (`OptionRegistry.bind` below); the options
# of what is not chosen stay at their defaults.
MODEL: dict[str, object] = {"name": "resnet32"}  # see gcl_jax/models
GRADIENT: dict[str, object] = {"name": "plain"}  # plain | sam
OPTIMIZER = {
    "name": "sgd",  # sgd | adamw | lamb
    "learning_rate": 0.1,
    "lr_mult": (),  # rules "REGEX=NUMBER" on parameter paths, such as "backbone/=0.1"; the first that matches counts
    "reference_batch_size": 0,  # linear scaling: rate * batch_size / reference_batch_size; 0 = off
    "weight_decay": 2e-4,  # sgd: coupled, on every trained parameter; adamw, lamb: decoupled, not on vectors
    "weight_decay_rules": (),  # rules as of lr_mult, for other decays (adamw, lamb: of no vector, here neither)
    "clip_norm": 0.0,  # 0 = off
    "schedule": "step",  # step | cosine | constant, one rate an epoch; cosine_by_step
    "warmup_percent": 0.0,  # of the stage's epochs
    "warmup_start": 0.0,  # the factor from which it rises
    "boundaries_percent": (),
    "decay_factors": (),
}
STAGE = {
    "method": {},
    "sampler": {},
    "head": "linear",  # see gcl_jax/models; of those that the method works with
    "trainable": ".*",  # regex of the parameters that train, from the start of a path such as "head/kernel"
    "restore": "backbone/|head/(feature_)?(kernel|bias)$",  # regex of what is taken over from where the stage starts
    "epochs": 200,
    "batch_size": 64,
    "micro_batches": 1,  # parts of a batch that pass one after the other, for want of memory; batch norm sees a part
    # Of the backbone: train | frozen (as in evaluation, in training too) | stats_only (statistics move, the rest stays)
    "bn": "train",
    "bn_scope": "",  # a block of a ResNet for photographs: bn is for it alone, and frozen elsewhere
    "optimizer": OPTIMIZER,
    # {stream of the method: pipelines such as "crop(4)|flip", one a view}; () or none = what data says
    "transforms": {},
    "mix": "",  # mixup(1.0) | cutmix(1.0) | mixup_or_cutmix() | cmo() | "" = none
    "gradient": GRADIENT,
    "ema_decay": 0.0,  # of a moving average of the parameters, which is then what is evaluated; 0 = off
    "init_from": "",  # "" = the stage before; a workdir of another run; or a file of torch names
}
TOP: dict[str, Any] = {
    "stages": (),
    "plugins": (),  # modules that register methods, optimizers, schedules: every command imports them
    "data": DATA,
    "model": MODEL,
    "seed": 0,
    "num_seeds": 1,  # seeds seed, seed + 1, ...
    "seeds_at_once": 0,  # side by side in one program; 0 = as many as have devices to themselves
    "steps_per_call": 0,  # the most train steps per dispatch, on an accelerator; 0 = up to the next log line
    "precision": "float32",  # float32 | tf32 | bf16
    # batch_size: 0 = by backend, 256 on CPU, 1024 elsewhere; views: pipelines whose logits are averaged. When a stage
    # ends, store_logits: of validation and test (float16); metrics: names in gcl_jax.metrics.METRICS, from them.
    "eval": {"every_epochs": 1, "batch_size": 0, "views": (), "store_logits": True, "metrics": ()},
    # A key of a stage of 0 epochs, chosen from a grid on training images held out ("" = off): see training/tuning.py.
    "tuning": {"key": "", "grid": (), "validation_fraction": 0.1},
    # After training: tau of z - tau * log(prior), 0 = off; alpha of De-confound-TDE, -1 = its method's.
    "posthoc": {"logit_adjustment": 0.0, "alpha": -1.0},
    "log": {"every_steps": 50, "tensorboard": False},
    # every_minutes: besides every_steps, 0 = off; keep_best: also the best on validation images, where there are such.
    "checkpoint": {"every_steps": 1000, "every_minutes": 0.0, "keep": 2, "keep_best": True},
    # Numbers that are not finite: stop | skip (go back and leave that batch out, at most so many times a stage).
    "non_finite": {"action": "stop", "max_skips": 10},
    "debug_nans": False,
}
TUPLES_OF_TEXT = ("stages", "plugins", "metrics", "lr_mult", "weight_decay_rules", "views")  # all others are of numbers
PRECISIONS = ("float32", "tf32", "bf16")

# The range of every number above, and of the entries of every tuple of numbers; those of methods and samplers stand
# beside their fields. No sensible use comes near an end that is not a limit of the thing itself.
STAGE_RANGES = {
    "epochs": Range("[0, 1000000]"),
    "batch_size": Range("[1, 1000000]"),
    "micro_batches": Range("[1, 1000000]"),
    "optimizer.learning_rate": Range("[1e-12, 1000]"),
    "optimizer.reference_batch_size": Range("[0, 1000000]"),
    "optimizer.weight_decay": Range("[0, 100]"),
    "optimizer.clip_norm": Range("0 or [1e-6, 1e9]"),
    "optimizer.warmup_percent": Range("[0, 100]"),
    "optimizer.warmup_start": Range("[0, 1]"),
    "optimizer.boundaries_percent": Range("[0, 100]"),
    "optimizer.decay_factors": Range("[0, 1000]"),
    "ema_decay": Range("[0, 0.9999999]"),
}
RANGES = {
    "data.imbalance_ratio": Range("[1, 1e9]"),
    "data.subset_seed": Range("[0, 4294967295]"),  # numpy's legacy generator takes 32 bits
    "data.validation_fraction": Range("[0, 1)"),
    "data.crop_padding": Range("[0, 256]"),
    "data.mean": Range("[-1000, 1000]"),
    "data.std": Range("[1e-6, 1000]"),
    "data.photos.size": Range("[1, 8192]"),
    "data.photos.resize": Range("[1, 16384]"),
    "data.photos.color_jitter": Range("[0, 100]"),
    "seed": Range("[0, 4294967295]"),  # beyond, JAX's keys of 32 bits would begin anew at 0
    "num_seeds": Range("[1, 10000]"),
    "seeds_at_once": Range("[0, 10000]"),
    "steps_per_call": Range("[0, 1000000]"),
    "eval.every_epochs": Range("[1, 1000000]"),
    "eval.batch_size": Range("[0, 1000000]"),
    "tuning.grid": Range("[-1e6, 1e6]"),  # the range of the key that is tuned holds, too
    "tuning.validation_fraction": Range("(0, 1)"),
    "posthoc.logit_adjustment": Range("[0, 100]"),
    "posthoc.alpha": Range("-1 or [0, 1000]"),
    "log.every_steps": Range("[1, 1000000000]"),
    "checkpoint.every_steps": Range("[1, 1000000000]"),
    "checkpoint.every_minutes": Range("[0, 1e6]"),
    "checkpoint.keep": Range("[1, 1000000]"),
    "non_finite.max_skips": Range("[1, 1000]"),
}
BACKBONES.bind(MODEL, RANGES, "model.")
OPTIMIZERS.bind(OPTIMIZER, STAGE_RANGES, "optimizer.")
GRADIENT_RULES.bind(GRADIENT, STAGE_RANGES, "gradient.")


def check_keys(block: Mapping, defaults: Mapping, where: str) -> None:
    """Raise UserError naming the first key of a block that is unknown or missing."""
    for key in block:
        if key not in defaults:
            raise UserError(f"{where} has no key {shown(key)}{did_you_mean(key, defaults)}")
    for key in defaults:
        if key not in block:
            raise UserError(f"{where}.{key} is missing; gcl_jax.config's builders fill every key")


def check_block(block: Mapping, defaults: Mapping, where: str, allowed: Mapping[str, Range]) -> None:
    """Raise UserError naming the first key that is missing, unknown, of another type than its default or out of range.

    ``allowed`` {dotted key of ``block``: its range}.
    """
    check_keys(block, defaults, where)
    for key, default in defaults.items():
        value = block[key]
        if isinstance(default, Mapping):
            if not isinstance(value, Mapping | ConfigDict):
                raise UserError(f"{where}.{key} is {shown(value)}; it must be a block of keys")
            if default:
                check_block(value, default, f"{where}.{key}", _ranges_inside(allowed, key))
        else:
            _check_value(value, default, f"{where}.{key}", allowed.get(key))


def _ranges_inside(allowed: Mapping[str, Range], key: str) -> dict[str, Range]:
    return {k.removeprefix(f"{key}."): key_range for k, key_range in allowed.items() if k.startswith(f"{key}.")}


def _check_value(value: object, default: object, where: str, allowed: Range | None) -> None:
    if isinstance(default, tuple) and where.split(".")[-1] in TUPLES_OF_TEXT:
        kinds: Any = (tuple, list)
    elif isinstance(default, str | bool):
        kinds = type(default)
    else:
        return ranges.check(value, default, allowed, where)
    if not isinstance(value, kinds):
        raise UserError(f"{where} is {shown(value)}; it must be a {type(default).__name__}")
    if isinstance(default, tuple) and not all(isinstance(entry, str) for entry in value):
        raise UserError(f"{where} is {shown(value)}; its entries must be text")
    if isinstance(value, str) and "\0" in value:
        raise UserError(f"{where} is {shown(value)}; it must be without the character \\0, which no file's name has")
