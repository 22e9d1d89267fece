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

from gcl_jax import handover, logs, metrics, workdir
from gcl_jax.errors import UserError
from gcl_jax.parts import Parts


def settled(
    config: ConfigDict, file: epath.Path, train: Callable[[ConfigDict], Mapping[int, str]] | None
) -> ConfigDict:
    """``config`` with the chosen value; the choice is kept in ``file``.

    ``train`` runs what it is given, `held_out`'s config, and returns {seed: folder}. Where it is None, UserError is
    raised if there is no choice from this grid yet.
    """
    choice = workdir.read_json(file) if file.exists() else {}
    asked = json.loads(json.dumps(config.tuning.to_dict()))
    if {k: choice.get(k) for k in asked} != asked:
        if train is None:
            raise UserError(f"{file.parent} holds no choice of {config.tuning.key} from this grid; train first")
        choice = choose(config, train(held_out(config)))
        logs.write_json(file, choice)
    return with_value(config, choice["chosen"])


def held_out(config: ConfigDict) -> ConfigDict:
    """The run that trains what comes before the tuned stage on the training images that are not held out."""
    found = copy.deepcopy(config)
    place = config.stages.index(config.tuning.key.split(".")[0])
    found.stages = config.stages[:place]
    found.data.validation_fraction = config.tuning.validation_fraction
    found.tuning.key = ""
    return found


def with_value(config: ConfigDict, value: float) -> ConfigDict:
    """``config`` with ``value`` for the tuned key."""
    found = copy.deepcopy(config)
    *path, last = config.tuning.key.split(".")
    block = found
    for part in path:
        block = block[part]
    block[last] = value
    return found


def choose(config: ConfigDict, starts: Mapping[int, str]) -> dict:
    """The tuning block with "chosen" and the "scores" of its grid: macro recall on the images held out, in %.

    ``starts`` {seed: folder} hold the stage before, trained by `held_out`'s run; scores are means over them, and the
    first of equals is chosen.
    """
    name = config.tuning.key.split(".")[0]
    place = config.stages.index(name)
    scores = []
    whole = held_out(config)
    whole.stages = config.stages[: place + 1]
    parts = Parts(whole)
    for value in config.tuning.grid:
        stage = Parts(with_value(config, value), parts.dataset).stage(name, 1)
        recalls = []
        for seed, folder in starts.items():
            found = handover.load(folder, config.stages[place - 1])
            state, constants, _ = stage.start(seed, found, folder)
            validation = stage.evaluate(stage.variables(state, constants), constants.stats, ("validation",))()
            recalls.append(metrics.summarize(validation["validation"], parts.dataset.counts)["macro_recall"])
        scores.append(float(np.mean(recalls)))
    chosen = config.tuning.grid[int(np.argmax(scores))]
    logs.say(f"{config.tuning.key} = {chosen:g}: {max(scores):.2f} % macro recall on the training images held out")
    return {**config.tuning.to_dict(), "scores": scores, "chosen": chosen}
