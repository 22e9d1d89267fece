"""Which parameters of a stage train: its rules, and what batch norm keeps, put together as labels."""

from collections.abc import Mapping

from flax import traverse_util
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import optim
from gcl_jax.errors import UserError


def stage_labels(name: str, block: ConfigDict, variables: Mapping) -> tuple[dict, dict[str, optim.ParamGroup]]:
    """(labels, groups) of the parameters in ``variables``, arrays or shapes, under the ``block`` of the stage ``name``.

    ``bn`` = "stats_only" freezes what batch norm scales by. Raises UserError for a rule that matches no parameter, and
    where nothing trains.
    """
    norms = {path[:-1] for path in traverse_util.flatten_dict(variables["batch_stats"])}
    affine = {"/".join(p) for p in traverse_util.flatten_dict(variables["params"]) if p[:-1] in norms}
    with config_lib.naming(f"config.{name}: "):
        labels, groups = optim.param_groups(
            variables["params"],
            trainable=block.trainable,
            lr_mult=optim.parse_rules(block.optimizer.lr_mult, "optimizer.lr_mult"),
            weight_decay=optim.parse_rules(block.optimizer.weight_decay_rules, "optimizer.weight_decay_rules"),
            frozen=affine if block.bn == "stats_only" else (),
        )
    if not groups:
        raise UserError(f"config.{name} trains no parameter: leave the stage out of config.stages")
    return labels, groups
