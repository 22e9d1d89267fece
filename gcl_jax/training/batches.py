"""Batch sizes that cannot be trained, of all stages at once."""

from collections.abc import Iterable

from jax.sharding import Mesh
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import sampling
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh as mesh_lib


def check(config: ConfigDict, names: Iterable[str], num_train: int, mesh: Mesh, seeds_at_once: int) -> None:
    """Raise one UserError for all stages ``names`` whose batch is larger than ``num_train`` or cannot be shared out."""
    message = []
    for name in names:
        try:
            with config_lib.prefix_errors(f"config.{name}."):
                sampling.steps_per_epoch(num_train, config[name].batch_size)
            # One seed: left over, or left behind by a kill, it has all devices to itself.
            for side_by_side in sorted({seeds_at_once > 1, False}, reverse=True):
                divides(config, name, mesh, side_by_side)
        except UserError as error:
            message.append(str(error))
    if message:
        raise UserError("; ".join(message))


def divides(config: ConfigDict, name: str, mesh: Mesh, side_by_side: bool) -> None:
    """Raise UserError if a train batch, or a part of it, does not divide over the devices that share it."""
    size, key = config[name].batch_size, f"config.{name}.batch_size"
    if config[name].micro_batches > 1:
        size, key = size // config[name].micro_batches, f"{key} / micro_batches"
    mesh_lib.check_batch(size, mesh, key, seeds=side_by_side)
