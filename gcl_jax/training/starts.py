"""What a stage starts from, and the check of a run's starts before its data are read."""

import dataclasses
import functools
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


def previous_stage(config: ConfigDict, name: str) -> str | None:
    """The stage that precedes ``name``, or None for the first."""
    index = config.stages.index(name)
    return config.stages[index - 1] if index else None


@dataclasses.dataclass(frozen=True)
class Start:
    """What a stage starts from: the file or folder ``origin`` ("" = random); of a run, the stage ``previous``."""

    origin: str
    previous: str | None = None

    def load(self) -> dict | None:
        """The variables of ``origin`` (see `warm_start.load`), in every process; None for a random start."""
        if not self.origin:
            return None
        return distributed.all_or_raise(lambda: warm_start.load(self.origin, self.previous))


def start_of(config: ConfigDict, name: str, seed: int, workdir: str | os.PathLike | None = None) -> Start:
    """The start of the stage ``name`` for ``seed``: its init_from, else the stage before in the seed's ``workdir``.

    Without init_from the first stage, and any stage without a ``workdir``, has a random start. Raises UserError if the
    stage before lost its checkpoints, or init_from is a run of other seeds.
    """
    previous = previous_stage(config, name)
    if config[name].init_from:
        return Start(distributed.run_on_host0(lambda: warm_start.seed_folder(config[name].init_from, seed)), previous)
    if previous is None or workdir is None:
        return Start("")
    folder = StageDir(epath.Path(workdir), previous)
    if not folder.has_checkpoints():
        raise UserError(
            f"{name} starts from {folder.path}, which is marked done but has no checkpoints any more: remove its "
            "DONE.json to train it again"
        )
    return Start(str(folder.path), previous)


def check_labels(config: ConfigDict, names: Iterable[str]) -> None:
    """Raise UserError for a wrong rule on parameter paths in any of the stages (see `stage_labels`)."""
    for name in names:
        stage_labels(name, config[name], _network_variables(config, name))


def load_starts(config: ConfigDict, name: str, seeds: Iterable[int]) -> dict[str, dict]:
    """{origin: variables} of each start of the stage ``name`` for ``seeds``; the arrays have only their shapes.

    Raises UserError for an origin that is missing, cannot be read, is not finite or has another backbone, and for a
    stage that freezes parameters but has a random start.
    """
    loaded: dict[str, dict] = {}
    for seed in seeds:
        if not config[name].init_from:
            distributed.all_or_raise(lambda: _require_nothing_frozen(config, name))
            continue
        start = start_of(config, name, seed)
        variables = start.load()
        if variables is not None and start.origin not in loaded:
            check = functools.partial(_require_backbone, config, name, variables, start.origin)
            distributed.all_or_raise(check)
            loaded[start.origin] = variables | jax.tree.map(
                lambda leaf: np.broadcast_to(leaf.dtype.type(0), leaf.shape), warm_start.arrays(variables)
            )
    return loaded


def _require_backbone(config: ConfigDict, name: str, variables: dict, origin: str) -> None:
    restores = warm_start.restored_by(config[name].restore)
    of_backbone = lambda path: path[0] != "head" and restores(path)  # noqa: E731
    try:
        warm_start.restore_variables(_network_variables(config, name), variables, of_backbone, origin)
    except UserError:
        fresh = _with_shapes_of(variables, config, name)
        warm_start.restore_variables(fresh, variables, of_backbone, origin)


def _with_shapes_of(variables: dict, config: ConfigDict, name: str) -> dict:
    """`_network_variables`, where what depends on the size of images has the shape that it has in ``variables``.

    Such as positions. The size is not known before the data are read; what is restored is looked at again then.
    """
    small, large = (traverse_util.flatten_dict(_network_variables(config, name, size)) for size in (SIZE, 2 * SIZE))
    saved = traverse_util.flatten_dict(warm_start.arrays(variables))
    fresh = {
        path: np.zeros(saved[path].shape) if path in saved and leaf.shape != large[path].shape else leaf
        for path, leaf in small.items()
    }
    return traverse_util.unflatten_dict(fresh)


def _require_nothing_frozen(config: ConfigDict, name: str) -> None:
    labels, _ = stage_labels(name, config[name], _network_variables(config, name))
    if optim.FROZEN in jax.tree.leaves(labels):
        raise UserError(
            f"config.{name} keeps parameters frozen but has nothing to start from: set "
            f"--config.{name}.init_from=DIR, or put the stage after another in config.stages"
        )


def _network_variables(config: ConfigDict, name: str, size: int = SIZE) -> dict:
    """Variables of a stage's network for two classes and images of ``size`` pixels a side; all values are 0."""
    network = build_network(config, name, 2)
    images = jnp.zeros((1, size, size, len(config.data.mean)))
    shapes = jax.eval_shape(lambda key: network.init(key, images, train=False), jax.random.key(0))
    shapes = {"params": shapes["params"], "batch_stats": {}, **shapes}
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
