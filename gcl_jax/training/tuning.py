"""Choose a hyper-parameter of a made classifier (tau of tau-normalisation) on training images held out, never on test.

``config.tuning`` names a key of a stage of 0 epochs, a grid, and the fraction of each class's training images that a
first run keeps for the choice. The value with the best macro-averaged recall there then goes into the run on all data.
Classes too small to give up an image (`longtail.hold_out` rounds) have no say in it.
"""

import copy
import json
from collections.abc import Callable, Mapping

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import json_files, logs, metrics
from gcl_jax.config import stage_fingerprint as stage_identity
from gcl_jax.errors import UserError
from gcl_jax.json_shape import NUMBER
from gcl_jax.runtime import backend
from gcl_jax.training.run_context import RunContext
from gcl_jax.training.starts import Start
from gcl_jax.workdir import host0


def choice_fingerprint(config: ConfigDict) -> dict:
    """All that a choice depends on: grid, fraction, seeds, posthoc rules, and how everything up to the stage trains."""
    name = config.tuning.key.split(".")[0]
    keys = {
        "tuning": config.tuning.to_dict(),
        "seeds": list(config_lib.seeds(config)),
        "posthoc": config.posthoc.to_dict(),
        "training": stage_identity.training_keys(with_value(config, config.tuning.grid[0]), name),
        "starts": {stage: config[stage].init_from for stage in config.stages},
        "path": config.data.path,
    }
    if files := stage_identity.files(config):
        keys["files"] = files
    return json.loads(json.dumps(keys, default=list))


def choice_file(folder: epath.Path, config: ConfigDict) -> epath.Path:
    """Where in ``folder`` the choice of this `identity` is kept: other grids, seeds and configs have other files."""
    return folder / f"choice_{json_files.digest(choice_fingerprint(config), 10)}.json"


def settled(
    config: ConfigDict, folder: epath.Path, train: Callable[[ConfigDict], Mapping[int, str]] | None
) -> ConfigDict:
    """``config`` with the chosen value; choices are kept in ``folder``.

    ``train`` runs what it is given, `held_out`'s config, and returns {seed: folder}. Where it is None, UserError is
    raised if this choice has not been made yet.
    """
    file = choice_file(folder, config)
    if not host0.exists(file):
        if train is None:
            raise UserError(f"{folder} holds no choice of {config.tuning.key} for this config and grid; train first")
        host0.write_json(file, {"asked": choice_fingerprint(config), **choose(config, train(held_out(config)))})
    return with_value(config, host0.read_json(file, {"chosen": NUMBER})["chosen"])


def warning(config: ConfigDict) -> str:
    """What makes a choice optimistic, or nothing: a start from outside may have seen the images held out."""
    if not config.tuning.key:
        return ""
    before = config.stages[: config.stages.index(config.tuning.key.split(".")[0])]  # all that the choice is made on
    starts = [config[stage].init_from for stage in before if config[stage].init_from]
    if not starts:
        return ""
    return f"{config.tuning.key} was chosen on images that {starts[-1]} may have been trained on"


def held_out(config: ConfigDict) -> ConfigDict:
    """The run that trains what comes before the tuned stage on the training images that are not held out."""
    reduced = copy.deepcopy(config)
    place = config.stages.index(config.tuning.key.split(".")[0])
    reduced.stages = config.stages[:place]
    reduced.data.validation_fraction = config.tuning.validation_fraction
    reduced.tuning.key = ""
    return reduced


def with_value(config: ConfigDict, value: float) -> ConfigDict:
    """``config`` with ``value`` for the tuned key."""
    changed = copy.deepcopy(config)
    changed.update_from_flattened_dict({config.tuning.key: value})
    return changed


def choose(config: ConfigDict, starts: Mapping[int, str]) -> dict:
    """{"chosen", "grid", "scores"}: macro recall on the images held out, in %, for each value of the grid.

    ``starts`` {seed: folder} hold the stage before, trained by `held_out`'s run; scores are means over them, and the
    first of equals is chosen.
    """
    name = config.tuning.key.split(".")[0]
    before = config.stages[config.stages.index(name) - 1]
    parts, scores = RunContext(held_out(config)), []
    with backend.matmul_precision(config.precision):
        for value in config.tuning.grid:
            stage = parts.with_config(with_value(config, value)).stage(name, 1)
            recalls = []
            for seed, folder in starts.items():
                start = Start(str(folder), before)
                state, inputs, _ = stage.start(seed, start.load(), start.origin)
                predictions = stage.evaluate(stage.variables(state), inputs.info, ("validation",))()
                recalls.append(metrics.summarize(predictions["validation"], parts.dataset.counts)["macro_recall"])
            scores.append(float(np.mean(recalls)))
    chosen = config.tuning.grid[int(np.argmax(scores))]
    if optimistic := warning(config):
        logs.log_info(f"note: {optimistic}")
    logs.log_info(f"{config.tuning.key} = {chosen:g}: {max(scores):.2f} % macro recall on the training images held out")
    return {"chosen": chosen, "grid": list(config.tuning.grid), "scores": scores}
