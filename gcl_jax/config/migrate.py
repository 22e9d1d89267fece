"""Configs that an older version wrote, with the keys of this version."""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax.config import stage_fingerprint
from gcl_jax.config.plugins import load_plugins
from gcl_jax.methods import METHODS
from gcl_jax.sampling import SAMPLERS

_TRAINABLE = {"all": ".*", "classifier": "head/", "scale": "head/scale"}


def with_defaults(config: ConfigDict) -> ConfigDict:
    """``config`` with older keys replaced by this version's, and the default of every key that it lacks."""
    old = config.to_dict()
    load_plugins(old)
    if isinstance(old.get("non_finite"), Mapping) and "most_skips" in old["non_finite"]:
        old["non_finite"] = {**old["non_finite"], "max_skips": old["non_finite"]["most_skips"]}
        del old["non_finite"]["most_skips"]
    if isinstance(old.get("non_finite"), Mapping) and isinstance(old["non_finite"].get("max_skips"), int):
        old["non_finite"] = {**old["non_finite"], "max_skips": min(old["non_finite"]["max_skips"], 1000)}
    if isinstance(old.get("model"), Mapping) and str(old["model"].get("name", "")).endswith("_two_branch"):
        old["model"] = {**old["model"], "name": old["model"]["name"].removesuffix("_two_branch"), "experts": 2}
    blocks = {name: _stage(old[name]) for name in _stage_names(old)}
    filled = _with_missing_keys({**old, **blocks}, {**config_lib.TOP, **{name: config_lib.STAGE for name in blocks}})
    for name in blocks:
        for kind, registry in (("method", METHODS), ("sampler", SAMPLERS)):
            block = filled[name][kind]
            if block.get("name") in registry:
                defaults = {f.name: f.default for f in dataclasses.fields(registry[block["name"]])}
                filled[name][kind] = _with_missing_keys(block, defaults)
        filled[name]["transforms"] = _every_stream(filled[name])
    return ConfigDict(filled)


def _every_stream(block: Mapping) -> dict:
    """The block ``transforms`` with an entry for each stream of the method, as `config.stage` makes it."""
    method, pipelines = METHODS.get(block["method"].get("name")), dict(block["transforms"])
    return {name: () for name in method().streams()} | pipelines if method else pipelines


def training_keys(keys: Mapping) -> dict:
    """The training keys of a run's config.json, as `stage_fingerprint.training_keys` would return them now."""
    try:
        filled = with_defaults(ConfigDict(dict(keys))).to_dict()
        migrated = stage_fingerprint.keys_that_train(filled, _stage_names(keys))
    except (AttributeError, KeyError, TypeError):  # not what any version wrote
        return dict(keys)
    return dict(keys) | {name: migrated[name] for name in keys if name in migrated}


def has_old_optimizer_state(keys: Mapping) -> bool:
    """Whether these are the training keys of commit 8f92ab7 or before, whose optimizer state had other names."""
    return any("trainable" not in keys[name] for name in _stage_names(keys))


def _stage_names(config: Mapping) -> list[str]:
    return [name for name in config if name not in config_lib.TOP and isinstance(config[name], Mapping)]


def _stage(block: Mapping) -> Mapping:
    """A stage's block; where it is of an older version, what were its method's keys become keys of the stage.

    These were the head, the parameters that train or start anew, and their factors of the learning rate.
    """
    method = dict(block["method"]) if isinstance(block.get("method"), Mapping) else {}
    if "trains" not in method:
        return block
    head, old_trains, fresh, last = (method.pop(key, "") for key in ("head", "trains", "fresh_head", "last_block"))
    kind = METHODS.get(method.get("name", ""))
    trainable = _TRAINABLE.get(old_trains, f"backbone/{last}/|head/")
    if kind and old_trains == "classifier":
        trainable = kind.trainable if kind.trainable != ".*" else trainable
    restore = kind.restore if kind else config_lib.STAGE["restore"]
    if last or fresh:
        restore = (f"backbone/(?!{last}/)" if last else "backbone/") + (
            "" if fresh else "|head/(feature_)?(kernel|bias)$"
        )
    if method.get("name") == "oltr" and head == "meta_embedding_512":
        restore = config_lib.STAGE["restore"]
    if head.startswith("nearest_mean_"):
        method["variant"] = head.removeprefix("nearest_mean_")
    parts = "head/(attention|feature_)" if method.get("name") == "oltr" else "head/feature_"
    factors = {
        "feature_lr_factor": parts if old_trains == "classifier" else f"backbone/|{parts}",
        "centroid_lr_factor": "head/centroids",
        "classifier_lr_factor": "head/(kernel|bias)$",
    }
    rules = [(regex, method.pop(key)) for key, regex in factors.items() if key in method]
    optimizer = {**block.get("optimizer", {}), "lr_mult": tuple(f"{regex}={x}" for regex, x in rules if x != 1)}
    return {**block, "method": method, "head": head, "trainable": trainable, "restore": restore, "optimizer": optimizer}


def _with_missing_keys(block: Mapping, defaults: Mapping) -> dict:
    result = dict(block)
    for key, default in defaults.items():
        if key not in result:
            result[key] = default
        elif isinstance(default, Mapping) and default and isinstance(result[key], Mapping):
            result[key] = _with_missing_keys(result[key], default)
    return result
