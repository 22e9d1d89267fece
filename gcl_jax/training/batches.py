"""Check that the batch sizes of all stages fit the data and the devices."""

from collections.abc import Iterable

from jax.sharding import Mesh
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import sampling
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh as mesh_lib


def check(config: ConfigDict, names: Iterable[str], num_train: int, mesh: Mesh, seeds_at_once: int) -> None:
    """Raise one UserError for all ``names`` whose batch exceeds ``num_train`` or does not divide over the devices."""
    messages = []
    for name in names:
        try:
            with config_lib.prefix_errors(f"config.{name}."):
                sampling.steps_per_epoch(num_train, config[name].batch_size)
            # One seed that is left over, or that a kill left behind, trains on all devices.
            for side_by_side in sorted({seeds_at_once > 1, False}, reverse=True):
                check_divides(config, name, mesh, side_by_side)
        except UserError as error:
            messages.append(str(error))
    if messages:
        raise UserError("; ".join(messages))


def check_divides(config: ConfigDict, name: str, mesh: Mesh, side_by_side: bool) -> None:
    """Raise UserError if a train batch, or a part of it, does not divide over the devices that share it."""
    size, key = config[name].batch_size, f"config.{name}.batch_size"
    if config[name].micro_batches > 1:
        size, key = size // config[name].micro_batches, f"{key} / micro_batches"
    mesh_lib.check_batch(size, mesh, key, seeds=side_by_side)
