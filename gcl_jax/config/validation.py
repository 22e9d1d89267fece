"""Every check of a config that needs neither data nor a device, so that a wrong one costs no time."""

import copy
import re

from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import models
from gcl_jax.config.plugins import load_plugins
from gcl_jax.config.transforms import eval_pipelines, stage_pipelines
from gcl_jax.data import LOADERS, SOURCES
from gcl_jax.data.dataset import PROFILES
from gcl_jax.errors import UserError, require_one_of
from gcl_jax.methods import METHODS, posthoc_rules
from gcl_jax.metrics import METRICS, SUMMARY_KEYS
from gcl_jax.optim import labels as optim_labels
from gcl_jax.optim import parse_rules
from gcl_jax.registry import options_of

FILES = {"path": "DIR", "photos.train_list": "FILE", "photos.test_list": "FILE", "photos.counts": "FILE.json"}


def validate(config: ConfigDict) -> None:
    """Raise UserError naming the first wrong key, type or value; touches no data and no device."""
    load_plugins(config)
    extra = {k: config[k].to_dict() for k in config if k not in config_lib.TOP and isinstance(config[k], ConfigDict)}
    config_lib.check_keys(config, {**config_lib.TOP, **extra}, "config")
    config_lib.check_block({k: config[k] for k in config_lib.TOP}, config_lib.TOP, "config", config_lib.RANGES)
    for name in extra:
        config_lib.check_block(config[name], config_lib.STAGE, f"config.{name}", config_lib.STAGE_RANGES)
    if not config.stages:
        raise UserError(f"config.stages is empty; name at least one of {', '.join(extra) or 'your stage blocks'}")
    for name in config.stages:
        require_one_of("a name in config.stages", name, extra)
    if len(set(config.stages)) != len(config.stages):
        raise UserError(f"config.stages is {config.stages}; each stage can stand in it once")
    for name in config.stages:
        _validate_stage(config[name], f"config.{name}")
    _validate_tuning(config)
    eval_pipelines(config)
    require_one_of("config.precision", config.precision, config_lib.PRECISIONS)
    if config.seed > 2**32 - config.num_seeds:
        raise UserError(f"config.seed is {config.seed}; with config.num_seeds it must stay in 0..{2**32 - 1}")
    if config.seeds_at_once > config.num_seeds:
        raise UserError(
            f"config.seeds_at_once is {config.seeds_at_once}; it must lie in 0..{config.num_seeds}, config.num_seeds"
        )
    models.BACKBONES.chosen(config.model.to_dict(), "config.model")
    for name in config.stages:
        if config[name].bn_scope:
            with_scope = [b for b in models.BACKBONES if models.call_takes(b, "bn_scope")]
            require_one_of(f"config.model.name, with {name}.bn_scope,", config.model.name, with_scope)
        needed = METHODS[config[name].method.name].experts  # with more, the head would be made for all of them
        if needed > 1 and needed != config.model.get("experts", 1):
            raise UserError(
                f"config.model.experts is {config.model.get('experts', 1)}, but {config[name].method.name} needs "
                f"{needed}: set --config.model.experts={needed}, with one of the backbones that have them "
                f"({', '.join(b for b in models.BACKBONES if 'experts' in options_of(models.BACKBONES[b]))})"
            )
    require_one_of("config.data.source", config.data.source, SOURCES)
    require_one_of("config.data.loader", config.data.loader, LOADERS)
    require_one_of("config.data.profile", config.data.profile, PROFILES)
    _validate_photos(config.data)
    for rule in set(posthoc_rules()) & set(config.posthoc):
        if config.posthoc[rule] >= 0 and not any(rule in METHODS[config[n].method.name].posthoc for n in config.stages):
            raise UserError(f"config.posthoc.{rule} is set, but no stage's method has it to change after training")
    for name in config.eval.metrics:
        require_one_of("a name in config.eval.metrics", name, METRICS)
        if name in SUMMARY_KEYS:
            raise UserError(f"config.eval.metrics names {name!r}, which every result has: register it by another name")
    if len(config.data.mean) != len(config.data.std):
        raise UserError("config.data.mean and config.data.std need one entry per channel")
    require_one_of("config.non_finite.action", config.non_finite.action, ("stop", "skip"))


def _validate_photos(block: ConfigDict) -> None:
    photos, where = block.photos, "config.data.photos"
    require_one_of(f"{where}.on_bad_image", photos.on_bad_image, ("error", "skip"))
    if photos.resize < photos.size:
        raise UserError(f"{where}.resize is {photos.resize}; it must be at least {where}.size, {photos.size}")
    if len(photos.color_jitter) != 3:
        raise UserError(
            f"{where}.color_jitter is {photos.color_jitter}; it must be three numbers: brightness, contrast, saturation"
        )
    kind = SOURCES[block.source]
    needed = {"path": block.path} if kind.photographs and kind.users_own else {}
    if kind.listed:
        needed |= {f"photos.{key}": photos[key] for key in ("train_list", "test_list")}
    if block.profile == "counts":
        needed["photos.counts"] = photos.counts
    for key, value in needed.items():
        if not value:
            why = "data.profile='counts'" if key == "photos.counts" else f"data.source={block.source!r}"
            raise UserError(f"config.data.{key} is empty: {why} needs --config.data.{key}={FILES[key]}")
    if kind.photographs and block.loader != "host":
        raise UserError(f"config.data.loader is {block.loader!r}, but photographs are decoded on the host: set 'host'")


def _validate_stage(block: ConfigDict, where: str) -> None:
    if block.batch_size % block.micro_batches:
        raise UserError(
            f"{where}.micro_batches is {block.micro_batches}; it must divide {where}.batch_size, {block.batch_size}"
        )
    require_one_of(f"{where}.bn", block.bn, ("train", "frozen", "stats_only"))
    method = config_lib.build_method(block.method.to_dict(), f"{where}.method")
    require_one_of(f"{where}.head", block.head, method.heads or models.HEADS)
    for key in ("trainable", "restore"):
        with config_lib.prefix_errors(f"{where}.{key}: "):
            optim_labels.compiled(block[key])
    if method.restores_classifier and not re.match(block.restore, "head/kernel"):
        raise UserError(
            f"{where}.restore is {block.restore!r}, but {block.method.name} goes on from the classifier of the stage "
            "before: take head/kernel, too"
        )
    if missing := sorted(method.posthoc - set(config_lib.TOP["posthoc"])):  # of a method registered from outside
        raise UserError(
            f"{where}.method.name is {block.method.name!r}, whose {missing[0]} is to be changed after training, but "
            f'there is no config.posthoc.{missing[0]}: add it to TOP["posthoc"] in gcl_jax/config/keys.py'
        )
    if not block.epochs >= method.requires_epochs:  # 0 elsewhere: the method's init_params is all of it
        needed = f" for {block.method.name}" if method.requires_epochs else ""
        raise UserError(f"{where}.epochs is {block.epochs}; it must be at least {int(method.requires_epochs)}{needed}")
    config_lib.build_sampler(block.sampler.to_dict(), f"{where}.sampler")
    stage_pipelines(block, method, where)
    opt = block.optimizer
    config_lib.build_optimizer(opt.to_dict(), f"{where}.optimizer")
    rule = config_lib.build_gradient_rule(block.gradient.to_dict(), f"{where}.gradient")
    if block.micro_batches > 1 and not rule.micro_batches:
        raise UserError(
            f"{where}.micro_batches is {block.micro_batches}, but the gradient rule {block.gradient.name} takes a "
            f"whole batch: set it to 1, or {where}.gradient.name to plain"
        )
    for key in ("lr_mult", "weight_decay_rules"):
        parse_rules(opt[key], f"{where}.optimizer.{key}")
    with config_lib.prefix_errors(f"{where}.optimizer."):
        config_lib.make_schedule(block, steps_per_epoch=1)


def _validate_tuning(config: ConfigDict) -> None:
    block = config.tuning
    if not block.key:
        return
    if complaint := config_lib.unknown_key(config, block.key):
        raise UserError(f"config.tuning.key: {complaint}")
    name = block.key.split(".")[0]
    if name not in config.stages[1:] or config[name].epochs:
        raise UserError(
            f"config.tuning.key is {block.key!r}; it must be a key of a stage of 0 epochs that follows another"
        )
    if not block.grid:
        raise UserError("config.tuning.grid is empty; give at least one value")
    tuned = config_lib.value_at(config, block.key)
    if not isinstance(tuned, float):
        message = "a block" if isinstance(tuned, ConfigDict) else repr(tuned)
        raise UserError(f"config.tuning.key is {block.key!r}, which is {message}; it must be a real number")
    for value in block.grid:
        stage = ConfigDict({name: copy.deepcopy(config[name])})
        stage.update_from_flattened_dict({block.key: float(value)})
        with config_lib.prefix_errors("config.tuning.grid: "):
            config_lib.check_block(stage[name], config_lib.STAGE, f"config.{name}", config_lib.STAGE_RANGES)
            _validate_stage(stage[name], f"config.{name}")
