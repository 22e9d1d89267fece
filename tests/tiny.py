"""A real config shrunk to seconds, for tests that train."""

import importlib.util

from conftest import ROOT

from gcl_jax import config as config_lib


def load_config(name, argument="100"):
    """The ConfigDict of ``name`` DATASET:ROW; ``argument`` is its ratio or folder, None for the file's own."""
    dataset, row = name.split(":")
    spec = importlib.util.spec_from_file_location("a_config", ROOT / "configs" / f"{dataset}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(row if argument is None else f"{row},{argument}")


def digits(**overrides):
    """digits_lt:gcl with few epochs; ``overrides`` are dotted keys written with __ for the dots."""
    config = load_config("digits_lt:gcl")
    short = {
        "representation.epochs": 2,
        "classifier.epochs": 2,
        "eval.every_epochs": 1,
        "log.every_steps": 4,
        "checkpoint.every_steps": 5,
    }
    return override(config, short | {key.replace("__", "."): value for key, value in overrides.items()})


def override(config, values):
    """Set dotted keys, as --config.KEY=VALUE does."""
    for key, value in values.items():
        assert config_lib.unknown_key(config, key) is None, key
        *path, last = key.split(".")
        block = config
        for part in path:
            block = block[part]
        block[last] = value
    return config


def override_flags(**values):
    """The same as command-line arguments."""
    return [f"--config.{key.replace('__', '.')}={value}" for key, value in values.items()]
