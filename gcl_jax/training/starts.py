"""Where a stage starts from; and what a run starts from, looked at before its data are read."""

import dataclasses
import os
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import traverse_util
from ml_collections import ConfigDict

from gcl_jax import optim
from gcl_jax.checkpoints import warm_start
from gcl_jax.errors import UserError
from gcl_jax.runtime import distributed
from gcl_jax.training.networks import build_network
from gcl_jax.training.param_labels import stage_labels
from gcl_jax.workdir.seed_dir import StageDir

SIZE = 64  # of images, where the data are not read yet: parameters of most backbones are the same for all sizes


def stage_before(config: ConfigDict, name: str) -> str | None:
    """The stage that precedes ``name``, or None for the first."""
    place = config.stages.index(name)
    return config.stages[place - 1] if place else None


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a stage starts from: a file or folder, of a run's folder the stage ``before``; "" is a random start."""

    origin: str
    before: str | None = None

    def load(self) -> dict | None:
        """The variables there (see `warm_start.load`), in every process; None where the start is random."""
        if not self.origin:
            return None
        return distributed.all_or_raise(lambda: warm_start.load(self.origin, self.before))


def start_of(config: ConfigDict, name: str, seed: int, workdir: str | os.PathLike | None = None) -> Start:
    """The start of the stage ``name`` for ``seed``: its init_from, else the stage before in the seed's ``workdir``.

    Without a ``workdir``, of a first stage, or of one that is looked at by itself, a stage without init_from has a
    random start. Raises UserError if the stage before lost its checkpoints, or init_from is a run of other seeds.
    """
    before = stage_before(config, name)
    if config[name].init_from:
        return Start(distributed.run_on_host0(lambda: warm_start.seed_folder(config[name].init_from, seed)), before)
    if before is None or workdir is None:
        return Start("")
    folder = StageDir(epath.Path(workdir), before)
    if not folder.has_checkpoints():
        raise UserError(
            f"{name} starts from {folder.path}, which is marked done but has no checkpoints any more: remove its "
            "DONE.json to train it again"
        )
    return Start(str(folder.path), before)


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
        start = start_of(config, name, seed)
        variables = start.load()
        if start.origin not in found:
            distributed.all_or_raise(lambda v=variables, s=start.origin: _require_backbone(config, name, v, s))
            found[start.origin] = variables | jax.tree.map(
                lambda leaf: np.broadcast_to(leaf.dtype.type(0), leaf.shape), warm_start.arrays(variables)
            )
    return found


def _require_backbone(config, name, found, start):
    restores = warm_start.restored_by(config[name].restore)
    of_backbone = lambda path: path[0] != "head" and restores(path)  # noqa: E731
    try:
        warm_start.restore_variables(_network(config, name), found, of_backbone, start)
    except UserError:
        fresh = _with_shapes_of(found, config, name)
        warm_start.restore_variables(fresh, found, of_backbone, start)


def _with_shapes_of(found, config, name):
    """`_network`, where what depends on the size of images, such as positions, has the shape it has in ``found``.

    The size is not known before the data are read; what is restored is looked at again then.
    """
    small, large = (traverse_util.flatten_dict(_network(config, name, size)) for size in (SIZE, 2 * SIZE))
    there = traverse_util.flatten_dict(warm_start.arrays(found))
    fresh = {
        path: np.zeros(there[path].shape) if path in there and leaf.shape != large[path].shape else leaf
        for path, leaf in small.items()
    }
    return traverse_util.unflatten_dict(fresh)


def _require_that_all_train(config, name):
    labels, _ = stage_labels(name, config[name], _network(config, name))
    if optim.FROZEN in jax.tree.leaves(labels):
        raise UserError(
            f"config.{name} keeps parameters frozen but has nothing to start from: set "
            f"--config.{name}.init_from=DIR, or put the stage after another in config.stages"
        )


def _network(config, name, size=SIZE):
    """The variables of a stage's network for two classes and images of ``size`` pixels a side, without values."""
    network = build_network(config, name, 2)
    images = jnp.zeros((1, size, size, len(config.data.mean)))
    found = jax.eval_shape(lambda key: network.init(key, images, train=False), jax.random.key(0))
    fresh = {"params": found["params"], "batch_stats": {}, **found}
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), fresh)
