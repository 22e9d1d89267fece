"""Where arrays live: one mesh with axes ('seed', 'data'), one of which may have size 1."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gcl_jax.errors import UserError


def make_mesh(devices: list | None = None) -> Mesh:
    """All devices (or those given) along 'data'.

    Axes are Auto: plain ``jit`` then gives global-batch semantics, batch norm included.

    >>> make_mesh().axis_names
    ('seed', 'data')
    """
    devices = np.asarray(jax.devices() if devices is None else devices)
    return Mesh(devices.reshape(1, -1), ("seed", "data"), axis_types=(AxisType.Auto, AxisType.Auto))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The leading (batch) axis split over 'data'."""
    return NamedSharding(mesh, PartitionSpec("data"))


def check_batch(batch_size: int, mesh: Mesh, name: str) -> None:
    """Raise UserError with the nearest sizes that divide, unless ``batch_size`` divides over the devices."""
    n = mesh.shape["data"]
    if batch_size % n:
        below, above = batch_size // n * n, -(-batch_size // n) * n
        nearest = f"{above}" if below == 0 else f"{below} or {above}"
        raise UserError(f"{name} is {batch_size}, which does not divide over {n} devices: choose {nearest}")
