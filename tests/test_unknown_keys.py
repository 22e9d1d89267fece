"""A key that does not exist is answered with where it stands, or with what it is called here."""

import pytest
from tiny import load_config

from gcl_jax import config
from gcl_jax.config.unknown import SYNONYMS

NEAREST = {
    "epochs": ["classifier.epochs", "representation.epochs"],
    "epoch": ["classifier.epochs", "representation.epochs"],
    "num_epochs": ["classifier.epochs", "representation.epochs"],
    "lr": ["classifier.optimizer.learning_rate", "representation.optimizer.learning_rate"],
    "LR": ["classifier.optimizer.learning_rate", "representation.optimizer.learning_rate"],
    "learning_rate": ["classifier.optimizer.learning_rate", "representation.optimizer.learning_rate"],
    "learningrate": ["classifier.optimizer.learning_rate", "representation.optimizer.learning_rate"],
    "optimizer.lr": ["classifier.optimizer.learning_rate", "representation.optimizer.learning_rate"],
    "representation.learning_rate": ["representation.optimizer.learning_rate"],
    "classifier.wd": ["classifier.optimizer.weight_decay"],
    "batch_size": ["classifier.batch_size", "eval.batch_size", "representation.batch_size"],
    "batch-size": ["classifier.batch_size", "eval.batch_size", "representation.batch_size"],
    "train.batch_size": ["classifier.batch_size", "eval.batch_size", "representation.batch_size"],
    "momentum": ["classifier.optimizer.momentum", "representation.optimizer.momentum"],
    "classifier.nesterov": ["classifier.optimizer.nesterov"],
    "size": ["data.photos.size"],
    "data.size": ["data.photos.size"],
    "image_size": ["data.photos.size"],
    "weights": ["classifier.init_from", "representation.init_from"],
    "representation.pretrained": ["representation.init_from"],
    "model.arch": ["model.name"],
    "imb_factor": ["data.imbalance_ratio"],
    "mixup_alpha": ["classifier.method.mixup_alpha", "representation.method.mixup_alpha"],
    "classifier.scale": ["classifier.method.scale"],
    "LEARNINGRATE": ["classifier.optimizer.learning_rate", "representation.optimizer.learning_rate"],
    "data.Path": ["data.path"],
    "sampler.name": ["classifier.sampler.name", "representation.sampler.name"],
    "optimizer.name": ["classifier.optimizer.name", "representation.optimizer.name"],
    # A typo in place comes first, and what it begins with last.
    "sed": ["seed"],
    "representation.epoch": ["representation.epochs"],
    "represntation.epochs": ["representation"],
    "data.photo.size": ["data.photos"],
    "classifier.method.noise": ["classifier.method.noise_multiplier"],
}


@pytest.fixture(scope="module")
def gcl():
    return load_config("digits_lt:gcl")


@pytest.mark.parametrize(("key", "nearest"), NEAREST.items())
def test_the_nearest_keys_are_named(gcl, key, nearest):
    told = f"the nearest {'is' if len(nearest) == 1 else 'are'} {', '.join(f'config.{n}' for n in nearest)}"
    assert config.unknown_key(gcl, key) == f"config.{key} does not exist; {told}"


@pytest.mark.parametrize(("key", "block"), [("foo", ""), ("zzz.qqq", ""), ("data.foo", "data"), ("tau", "")])
def test_of_what_is_like_nothing_all_keys_are_named(gcl, key, block):
    there = gcl[block] if block else gcl
    assert config.unknown_key(gcl, key) == f"config.{key} does not exist; there is {', '.join(there)}"


@pytest.mark.parametrize("key", ["", ".", ".seed", "data.", "data..path"])
def test_a_key_without_a_name_is_none(gcl, key):
    assert config.unknown_key(gcl, key).startswith(f"config.{key} names no key; write --config.KEY=VALUE")


@pytest.mark.parametrize("ours", SYNONYMS)
def test_every_synonym_is_of_a_key_that_some_config_has(gcl, ours):
    told = config.unknown_key(gcl, SYNONYMS[ours].split()[0])
    assert "the nearest" in told
    assert f".{ours}" in told
