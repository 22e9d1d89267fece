"""Every key of every block is part of a stage's identity, or named as one that does not train."""

import dataclasses
from collections.abc import Mapping

import pytest
from ml_collections import ConfigDict
from tiny import digits

from gcl_jax import config as config_lib
from gcl_jax.config import stage_fingerprint
from gcl_jax.methods import METHODS
from gcl_jax.sampling import SAMPLERS


def leaves(block, where=""):
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}"


def another(value):
    """A value of the same type that differs."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, ConfigDict):
        return ConfigDict({"main": ("flip",)})
    return {int: 7, float: 0.123, str: "another", tuple: (0.25,)}[type(value)] if not isinstance(value, Mapping) else {}


def identities(config):
    keys = stage_fingerprint.training_keys(config, "representation")
    return keys, stage_fingerprint.stage_key(keys, "data")


def changed(config, key):
    found = ConfigDict(config.to_dict())
    *blocks, last = key.split(".")
    block = found
    for name in blocks:
        block = block[name]
    with found.unlocked():
        block[last] = another(block[last])
    return found


def left_out(key):
    return any(key == name or key.startswith(f"{name}.") for name in stage_fingerprint.NOT_TRAINING)


@pytest.mark.parametrize("key", [key for key in leaves(config_lib.TOP) if key != "stages"])
def test_a_key_of_the_top_level(key):
    config = digits()
    if key.startswith("data.photos."):
        config.data.source = "list"  # elsewhere photographs' keys say nothing
    if key == "data.source":
        return  # which block of photographs counts follows from it; its own value is in every key below
    before, after = identities(config), identities(changed(config, key))
    assert (before[0] != after[0]) == (before[1] != after[1]) == (not left_out(key))


@pytest.mark.parametrize("key", [key for key in leaves(config_lib.STAGE) if key not in ("method", "sampler")])
def test_a_key_of_a_stage(key):
    config = digits()
    before, after = identities(config), identities(changed(config, f"representation.{key}"))
    assert (before != after) == (key not in stage_fingerprint.NOT_TRAINING_STAGE)


def named(registry, kind):
    return [
        (kind, name, field.name)
        for name, cls in registry.items()
        if cls.__module__.startswith("gcl_jax.")
        for field in dataclasses.fields(cls)
    ]


@pytest.mark.parametrize(("kind", "name", "field"), [*named(METHODS, "method"), *named(SAMPLERS, "sampler")])
def test_a_key_of_a_method_or_sampler(kind, name, field):
    config = digits()
    config.representation[kind] = ConfigDict(getattr(config_lib, kind)(name))
    before, after = identities(config), identities(changed(config, f"representation.{kind}.{field}"))
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_what_is_named_as_not_training_is_there():
    """A key that was renamed would enter the identity under its new name, unnoticed."""
    blocks = {**config_lib.TOP}
    known = set(leaves(blocks)) | set(blocks)
    assert known >= stage_fingerprint.NOT_TRAINING
    assert set(config_lib.STAGE) >= stage_fingerprint.NOT_TRAINING_STAGE


def test_a_new_key_at_its_default_changes_no_hash(monkeypatch):
    """So that an upgrade neither ends a run nor trains a table's rows again; another value of it does."""
    config = digits()
    before = stage_fingerprint.stage_key(stage_fingerprint.training_keys(config, "classifier"), "data")
    monkeypatch.setitem(config_lib.TOP["model"], "experts", 1)
    monkeypatch.setitem(config_lib.STAGE, "new", False)
    with config.unlocked():
        config.model.experts, config.representation.new, config.classifier.new = 1, False, False
    assert stage_fingerprint.stage_key(stage_fingerprint.training_keys(config, "classifier"), "data") == before
    config.model.experts = 3
    assert stage_fingerprint.stage_key(stage_fingerprint.training_keys(config, "classifier"), "data") != before


def test_two_networks_never_share_a_key():
    """A key of the network's block enters by itself; it used to be the network's name alone."""
    config = digits()
    with config.unlocked():
        config.model.width = 2
    assert identities(config)[1] != identities(digits())[1]
