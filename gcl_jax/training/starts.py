"""What a run starts from, looked at before its data are read and anything is compiled."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gcl_jax import models, optim
from gcl_jax.checkpoints import warm_start
from gcl_jax.errors import UserError
from gcl_jax.runtime import backend, distributed
from gcl_jax.training.param_labels import stage_labels


def stage_before(config: ConfigDict, name: str) -> str | None:
    """The stage that precedes ``name``, or None for the first."""
    place = config.stages.index(name)
    return config.stages[place - 1] if place else None


def read(config: ConfigDict, name: str, seed: int) -> tuple[str, dict]:
    """The init_from of the stage ``name`` for ``seed``, and the variables there (see `warm_start.load`)."""
    start = distributed.run_on_host0(lambda: warm_start.seed_folder(config[name].init_from, seed))
    return start, distributed.all_or_raise(lambda: warm_start.load(start, stage_before(config, name)))


def check_labels(config: ConfigDict, names: Iterable[str]) -> None:
    """Raise UserError for the rules on parameter paths that are wrong in any of the stages (see `stage_labels`)."""
    for name in names:
        stage_labels(name, config[name], _network(config, name))


def look(config: ConfigDict, name: str, seeds: Iterable[int]) -> dict[str, dict]:
    """{start: its variables} of each place from which ``seeds`` of the stage ``name`` start; of arrays only the shapes.

    Raises UserError for a place that is not there, cannot be read, is not finite or has another backbone, and for a
    stage that freezes parameters but has none.
    """
    found = {}
    for seed in seeds:
        if not config[name].init_from:
            distributed.all_or_raise(lambda: _require_that_all_train(config, name))
            continue
        start, variables = read(config, name, seed)
        if start not in found:
            distributed.all_or_raise(lambda v=variables, s=start: _require_backbone(config, name, v, s))
            found[start] = variables | jax.tree.map(
                lambda leaf: np.broadcast_to(leaf.dtype.type(0), leaf.shape), warm_start.arrays(variables)
            )
    return found


def _require_backbone(config, name, found, start):
    restores = warm_start.restored_by(config[name].restore)
    warm_start.restore_variables(
        _network(config, name), found, lambda path: path[0] != "head" and restores(path), start
    )


def _require_that_all_train(config, name):
    labels, _ = stage_labels(name, config[name], _network(config, name))
    if optim.FROZEN in jax.tree.leaves(labels):
        raise UserError(
            f"config.{name} keeps parameters frozen but has nothing to start from: set "
            f"--config.{name}.init_from=DIR, or put the stage after another in config.stages"
        )


def _network(config, name):
    """The variables of a stage's network for two classes, without values."""
    network = models.build(config.model.to_dict(), config[name].head, 2, backend.DTYPES[config.precision])
    images = jnp.zeros((1, 64, 64, len(config.data.mean)))  # a backbone's parameters are the same for all sizes
    found = jax.eval_shape(lambda key: network.init(key, images, train=False), jax.random.key(0))
    fresh = {"params": found["params"], "batch_stats": {}, **found}
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), fresh)
