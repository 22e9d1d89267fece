"""Where arrays live: one mesh with axes ('seed', 'data'), either of which may have size 1."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gcl_jax.errors import UserError
from gcl_jax.typing import PyTree


def make_mesh(devices: list | None = None, seeds: int = 1) -> Mesh:
    """A mesh of ``devices`` (None = all): as many as divide ``seeds`` along 'seed', the rest along 'data'.

    Axes are Auto: plain ``jit`` then gives global-batch semantics, batch norm included.

    >>> make_mesh().axis_names
    ('seed', 'data')
    """
    flat = np.asarray(jax.devices() if devices is None else devices)
    grid = flat.reshape(math.gcd(seeds, flat.size), -1)
    return Mesh(grid, ("seed", "data"), axis_types=(AxisType.Auto, AxisType.Auto))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_seeds(mesh: Mesh) -> NamedSharding:
    """The leading (seed) axis split over 'seed'."""
    return NamedSharding(mesh, PartitionSpec("seed"))


def over_batch(mesh: Mesh, *, leading: int = 0, seeds: bool = False) -> NamedSharding:
    """The batch axis, after ``leading`` others, split over 'data'.

    With ``seeds`` the first axis is the seeds', split over 'seed'; without, one seed has all devices.
    """
    if seeds:
        return NamedSharding(mesh, PartitionSpec("seed", *[None] * (leading - 1), "data"))
    return NamedSharding(mesh, PartitionSpec(*[None] * leading, ("seed", "data")))


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """``tree``, which every process holds whole, on the devices of all, without communication."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(functools.partial(_place, sharding=sharding), tree)


def _place(leaf: np.ndarray | jax.Array, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_place(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def fetchable(tree: PyTree, mesh: Mesh) -> PyTree:
    """``tree``, of arrays spread over ``mesh``, so that every process can fetch all of it; every process calls this."""
    return tree if replicated(mesh).is_fully_addressable else _gather(mesh)(tree)


@functools.cache
def _gather(mesh: Mesh) -> jax.stages.Wrapped:
    return jax.jit(lambda tree: tree, out_shardings=replicated(mesh))


def padded_batch(batch_size: int, mesh: Mesh) -> int:
    """``batch_size``, or the next size that divides over all devices: an evaluation batch is padded anyway.

    >>> padded_batch(255, make_mesh(jax.devices()[:1]))
    255
    """
    return -(-batch_size // mesh.size) * mesh.size


def check_batch(batch_size: int, mesh: Mesh, name: str, *, seeds: bool = False) -> None:
    """Raise UserError with the nearest sizes that divide, unless ``batch_size`` divides over its devices."""
    n = mesh.shape["data"] if seeds else mesh.size
    if batch_size % n:
        below, above = batch_size // n * n, -(-batch_size // n) * n
        nearest = f"{above}" if below == 0 else f"{below} or {above}"
        raise UserError(f"{name} is {batch_size}, which does not divide over {n} devices: choose {nearest}")
