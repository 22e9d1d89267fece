"""Configs that commit 8f92ab7 wrote, whose methods had the head and said what trains, are read as today's."""

import json

import pytest
from conftest import ROOT
from etils import epath
from ml_collections import ConfigDict
from tiny import load_config

from gcl_jax.config import migrate, stage_fingerprint, validation
from gcl_jax.errors import UserError
from gcl_jax.workdir import ownership

OLD = json.loads((ROOT / "tests" / "fixtures" / "configs_8f92ab7.json").read_text())


def plain(value):
    return json.loads(json.dumps(value, default=list, sort_keys=True))


def today(name):
    return load_config(name.replace("/", ":"), None)


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


@pytest.mark.parametrize("seed", ["", "seed_1/"])
@pytest.mark.parametrize("unfinished", ["", "representation", "classifier"])
@pytest.mark.parametrize("version", ["older", "today's"])
def test_an_older_optimizer_state_is_not_gone_on_from(tmp_path, seed, unfinished, version):
    """Before anything is written: the older version can still train it to its end."""
    config = OLD["digits_lt/gcl"] if version == "older" else today("digits_lt/gcl").to_dict()
    for name in ("representation", "classifier"):
        (tmp_path / seed / name / "checkpoints" / "18").mkdir(parents=True)
        if name != unfinished:
            (tmp_path / seed / name / "DONE.json").write_text("{}")
    (tmp_path / "config.json").write_text(json.dumps({"training": plain(config), "config": plain(config)}))
    if version == "older" and unfinished:
        told = rf"^{tmp_path}/{seed}{unfinished} is of an older gcl_jax, .*: train it to its end with that version"
        with pytest.raises(UserError, match=told):
            ownership.refuse_older_state(epath.Path(tmp_path), ["representation", "classifier"])
    else:
        ownership.refuse_older_state(epath.Path(tmp_path), ["representation", "classifier"])
