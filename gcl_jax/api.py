"""What a notebook or a script calls: ``gcl_jax.train``."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

from gcl_jax import command_line
from gcl_jax import config as config_lib
from gcl_jax.errors import UserError


def train(
    config: str | Path | ConfigDict,
    workdir: str | os.PathLike,
    *,
    overrides: Mapping[str, object] | None = None,
    eval_only: bool = False,
) -> dict:
    """Train ``config`` in the folder ``workdir``, or go on where it stands there; returns what result.json holds.

    ``config`` is a config, or what --config takes, such as "digits_lt:gcl,100". ``overrides`` {key: value} are its
    dotted keys, as in --config.KEY=VALUE.

    Raises UserError for a wrong config, wrong data, or a folder of another run.

    >>> train("digits_lt:ce,100", "runs/ce", overrides={"representation.epoch": 1})
    Traceback (most recent call last):
    gcl_jax.errors.UserError: config.representation.epoch does not exist; the nearest is config.representation.epochs
    """
    from gcl_jax.training import experiment  # the heavy half

    arguments = [f"--config.{key}={value}" for key, value in (overrides or {}).items()]
    if isinstance(config, ConfigDict):
        config = _overridden(config, overrides or {})
    else:
        config = command_line.config_of(["gcl_jax.train", f"--config={config}", *arguments])
    return experiment.run(config, os.fspath(workdir), overrides=arguments, eval_only=eval_only)


def _overridden(config: ConfigDict, overrides: Mapping[str, object]) -> ConfigDict:
    config = copy.deepcopy(config)
    for key in overrides:
        if complaint := config_lib.unknown_key(config, key):
            raise UserError(complaint)
    try:
        config.update_from_flattened_dict(dict(overrides))
    except TypeError as error:
        raise UserError(f"overrides: {error}") from error
    return config
