"""Configs that commit 8f92ab7 wrote, whose methods had the head and said what trains, are read as today's."""

import json

import pytest
from conftest import ROOT
from ml_collections import ConfigDict
from tiny import load_config

from gcl_jax.config import migrate, stage_fingerprint, validation

OLD = json.loads((ROOT / "tests" / "fixtures" / "configs_8f92ab7.json").read_text())


def plain(value):
    return json.loads(json.dumps(value, default=list, sort_keys=True))


def today(name):
    arguments = ("data/places_lt",) if name.startswith("places_lt") else ()
    return load_config(f"{name}.py", *arguments)


@pytest.mark.parametrize("name", OLD)
def test_an_old_config_is_todays(name):
    found = migrate.with_defaults(ConfigDict(OLD[name]))
    validation.validate(found)
    assert plain(found.to_dict()) == plain(today(name).to_dict())


@pytest.mark.parametrize(
    "name", ["digits_lt/gcl", "digits_lt/mislas", "digits_lt/nearest_class_mean", "places_lt/oltr"]
)
def test_the_training_keys_of_an_old_run_are_todays(name):
    """As its config.json holds them: a finished run is evaluated, predicted with and started from as before."""
    old, config = OLD[name], today(name)
    kept = {k: v for k, v in old.items() if k in ("data", "seed", "precision", *old["stages"])}
    kept |= {"model": {"name": old["model"]["name"]}, "stages": old["stages"], "folder_per_seed": False}
    kept["data"] = {k: v for k, v in old["data"].items() if k not in ("path", "loader")}
    found = migrate.training_keys(kept)
    assert plain(found | stage_fingerprint.training_keys(config, config.stages[-1])) == plain(found)


@pytest.mark.parametrize("keys", [{}, {"data": 1}, {"data": {"source": "digits"}, "x": {"method": 3}}])
def test_keys_of_no_version_stay_as_they_are(keys):
    assert migrate.training_keys(keys) == keys
