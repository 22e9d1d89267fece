"""Labels of a stage's parameters: which train, in which group, and which are frozen, by rules and batch norm mode."""

from collections.abc import Mapping

from flax import traverse_util
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import optim
from gcl_jax.checkpoints import warm_start
from gcl_jax.errors import UserError, cut
from gcl_jax.methods import METHODS, Method


def stage_labels(name: str, block: ConfigDict, variables: Mapping) -> tuple[dict, dict[str, optim.ParamGroup]]:
    """(labels, groups) of the parameters in ``variables``, arrays or shapes, under the ``block`` of the stage ``name``.

    ``bn`` = "stats_only" freezes scale and bias of the backbone's batch norm. Raises UserError for a rule that matches
    no parameter, where nothing trains, and where something frozen would stay as random as it starts.
    """
    stats = traverse_util.flatten_dict(variables["batch_stats"])
    norms = {path[:-1] for path in stats if path[0] == "backbone"}
    affine = {"/".join(p) for p in traverse_util.flatten_dict(variables["params"]) if p[:-1] in norms}
    with config_lib.prefix_errors(f"config.{name}: "):
        labels, groups = optim.param_groups(
            variables["params"],
            trainable=block.trainable,
            lr_mult=optim.parse_rules(block.optimizer.lr_mult, "optimizer.lr_mult"),
            weight_decay=optim.parse_rules(block.optimizer.weight_decay_rules, "optimizer.weight_decay_rules"),
            frozen=affine if block.bn == "stats_only" else (),
        )
    if not groups:
        raise UserError(f"config.{name} trains no parameter: leave the stage out of config.stages")
    _require_frozen_restored(name, block, labels, stats)
    return labels, groups


def _require_frozen_restored(name: str, block: ConfigDict, labels: Mapping, stats: Mapping) -> None:
    """Raise UserError if ``restore`` leaves out what stays frozen, unless the method's init_params sets it."""
    restores = warm_start.restored_by(block.restore)
    flat = traverse_util.flatten_dict(labels)
    constant = [path for path in flat if flat[path] == optim.FROZEN]
    constant += [path for path in stats if _keeps_stats(block, path)]
    if not any(map(restores, [*flat, *constant])):
        raise UserError(f"config.{name}.restore is {cut(repr(block.restore))}, which matches no parameter")
    if METHODS[block.method.name].init_params is not Method.init_params:
        constant = [path for path in constant if path[0] != "head"]
    if missing := ["/".join(path) for path in constant if not restores(path)]:
        raise UserError(
            f"config.{name}.restore is {cut(repr(block.restore))}, which leaves out {missing[0]}: it is frozen, and "
            "would stay as in a network that nobody has trained. Restore it, or let it train"
        )


def constant_arrays(block: ConfigDict, labels: Mapping, batch_stats: Mapping) -> list[str]:
    """Names in a checkpoint of the arrays that no step of a stage changes: frozen parameters, constant statistics."""
    params = [path for path, label in traverse_util.flatten_dict(labels).items() if label == optim.FROZEN]
    stats = [path for path in traverse_util.flatten_dict(batch_stats) if params and _keeps_stats(block, path)]
    return [*("/".join(("params", *path)) for path in params), *("/".join(("batch_stats", *path)) for path in stats)]


def _keeps_stats(block: ConfigDict, path: tuple[str, ...]) -> bool:
    """Whether the running statistics at ``path``, such as ("backbone", "bn1", "mean"), do not change in training."""
    return path[0] == "backbone" and (block.bn == "frozen" or (block.bn_scope != "" and path[1] != block.bn_scope))
