"""The fingerprint of a stage: the keys of its config that determine its parameters, and their hash.

Every key is part of it, but for those named here: a key that is added to a block enters by itself.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from gcl_jax import json_files
from gcl_jax.config.keys import PHOTOS, STAGE, TOP
from gcl_jax.data import holds_photographs
from gcl_jax.methods import METHODS
from gcl_jax.runtime import jax_settings
from gcl_jax.sampling import SAMPLERS

# Keys, or whole blocks, that do not change the parameters. Both loaders train bit-identically; paths, and the images
# that are skipped, are covered by the data's fingerprint.
NOT_TRAINING = frozenset({
    "eval", "tuning", "posthoc", "log", "checkpoint", "non_finite", "debug_nans", "num_seeds", "seeds_at_once",
    "steps_per_call", "stages", "plugins",
    "data.path", "data.loader", "data.photos.train_list", "data.photos.test_list",
    "data.photos.validation_list", "data.photos.counts", "data.photos.on_bad_image", "data.photos.allow_outside",
    "model.remat",
})  # fmt: skip
# Of a stage's block: the arrays that a stage starts from are hashed (`stage_key`'s fingerprint), not where they lie.
NOT_TRAINING_STAGE = frozenset({"init_from"})


def training_keys(config: ConfigDict, upto: str) -> dict:
    """What determines the parameters at the end of stage ``upto``: data, model, seed, precision, x64, stages so far."""
    keys = keys_that_train(config.to_dict(), config.stages[: config.stages.index(upto) + 1])
    return keys | jax_settings.fingerprint()


def keys_that_train(config: Mapping, stages: Sequence[str]) -> dict:
    """The keys of ``config`` and of its blocks ``stages`` but those of `NOT_TRAINING` and `NOT_TRAINING_STAGE`."""
    keys = _without({key: config[key] for key in TOP if key in config}, NOT_TRAINING)
    if not holds_photographs(keys["data"]["source"]):
        del keys["data"]["photos"]
    return keys | {name: _stage_keys(config[name]) for name in stages}


def _stage_keys(block: Mapping) -> dict:
    keys = _without(block, NOT_TRAINING_STAGE)
    by_stream = {stream: pipelines for stream, pipelines in keys.get("transforms", {}).items() if pipelines}
    return {**keys, "transforms": by_stream}  # an empty entry is the same as none


def _without(block: Mapping, left_out: frozenset[str], where: str = "") -> dict:
    """``block`` without the dotted keys ``left_out``, however deep."""
    return {
        key: _without(value, left_out, f"{where}{key}.") if isinstance(value, Mapping) else value
        for key, value in block.items()
        if f"{where}{key}" not in left_out
    }


def files(config: ConfigDict) -> dict:
    """The files of data.photos, lists and counts, that are set: `training_keys` leaves them to the data's fingerprint.

    They tell data apart without reading them.
    """
    photos = config.data.photos
    keys = {key.rpartition(".")[2] for key in NOT_TRAINING if key.startswith("data.photos.")} - {"allow_outside"}
    return {key: photos[key] for key in PHOTOS if key in keys and photos[key] != PHOTOS[key]}


def stage_key(keys: Mapping, fingerprint: str) -> str:
    """Hash of `training_keys` and a fingerprint of data and start; stages with equal hashes hold the same parameters.

    Keys at their defaults are left out, so that a key which a later version adds changes no hash; a default therefore
    never changes its meaning.
    """
    return json_files.digest([{name: _changed(name, value) for name, value in keys.items()}, fingerprint], 16)


def _changed(name: str, value: object) -> object:
    """The value of ``name`` in `training_keys`, without the keys in it that are at their defaults."""
    if name in TOP:
        default = TOP[name]
        return _difference(value, default) if isinstance(value, Mapping) and isinstance(default, Mapping) else value
    if not isinstance(value, Mapping):
        return value
    defaults = dict(STAGE)
    for kind, registry in (("method", METHODS), ("sampler", SAMPLERS)):
        if fields := registry.get(value.get(kind, {}).get("name")):
            defaults[kind] = {field.name: field.default for field in dataclasses.fields(fields)}
    return _difference(value, defaults)


def _difference(block: Mapping, defaults: Mapping) -> dict:
    changed = {}
    for key, value in block.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            if inner := _difference(value, default):
                changed[key] = inner
        elif key not in defaults or json.dumps(value, default=list) != json.dumps(default, default=list):
            changed[key] = value
    return changed


def differences(old: Mapping, new: Mapping, where: str = "config") -> list[str]:
    """Dotted keys whose values differ, as "config.a.b: OLD -> NEW"."""
    changed = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            changed += differences(a, b, f"{where}.{key}")
        elif json.dumps(a, default=list) != json.dumps(b, default=list):
            old_text, new_text = ("a block" if isinstance(v, Mapping) else "absent" if v is None else v for v in (a, b))
            changed.append(f"{where}.{key}: {old_text} -> {new_text}")
    return changed
