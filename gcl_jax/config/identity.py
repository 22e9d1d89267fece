"""Whose parameters a stage holds: the keys of its config that determine them, and their hash."""

import json
from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax import json_files
from gcl_jax.config import PHOTOS, TOP
from gcl_jax.data import PHOTOGRAPH_SOURCES
from gcl_jax.machine import jax_settings

# Keys that do not change what is trained; a stage's identity leaves them out. Both loaders train
# bit-identically, and the data's fingerprint stands for their paths and for the images that are skipped.
NOT_TRAINING = (
    "eval", "tuning", "posthoc", "log", "checkpoint", "non_finite", "debug_nans", "num_seeds", "seeds_at_once",
    "steps_per_call", "stages",
)  # fmt: skip
NOT_TRAINING_DATA = ("path", "loader", "photos")  # but for photographs, see `training_keys`
NOT_TRAINING_PHOTOS = ("train_list", "test_list", "validation_list", "counts", "on_bad_image", "allow_outside")


def training_keys(config: ConfigDict, upto: str) -> dict:
    """What determines the parameters at the end of stage ``upto``: data, model, seed, precision, x64, stages so far."""
    resolved = config.to_dict()
    kept = {k: v for k, v in resolved.items() if k in TOP and k not in NOT_TRAINING}
    kept |= jax_settings.identity()
    kept["model"] = {"name": resolved["model"]["name"]}  # remat changes no value
    kept["data"] = {k: v for k, v in resolved["data"].items() if k not in NOT_TRAINING_DATA}
    if kept["data"]["source"] in PHOTOGRAPH_SOURCES:
        photos = resolved["data"]["photos"]
        kept["data"]["photos"] = {k: v for k, v in photos.items() if k not in NOT_TRAINING_PHOTOS}
    for name in config.stages[: config.stages.index(upto) + 1]:
        # Not where the start lies, but what it holds, is part of the identity: see `stage_key`'s second argument.
        kept[name] = {k: v for k, v in resolved[name].items() if k != "init_from"}
    return kept


def files(config: ConfigDict) -> dict:
    """What `training_keys` leaves to the data's fingerprint: the lists and counts of photographs that are given.

    For whoever has to tell data apart without reading them.
    """
    photos = config.data.photos
    return {k: photos[k] for k in NOT_TRAINING_PHOTOS if k != "allow_outside" and photos[k] != PHOTOS[k]}


def stage_key(keys: Mapping, fingerprint: str) -> str:
    """Hash of `training_keys` and a fingerprint of data and start; two stages with one key hold the same parameters."""
    return json_files.digest([keys, fingerprint], 16)


def differences(old: Mapping, new: Mapping, where: str = "config") -> list[str]:
    """Dotted keys whose values differ, as "config.a.b: OLD -> NEW"."""
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{where}.{key}")
        elif json.dumps(a, default=list) != json.dumps(b, default=list):
            old_text, new_text = ("a block" if isinstance(v, Mapping) else "absent" if v is None else v for v in (a, b))
            found.append(f"{where}.{key}: {old_text} -> {new_text}")
    return found
