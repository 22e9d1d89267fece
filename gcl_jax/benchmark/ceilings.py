"""What the machine can do at most, as JAX reaches it: floating-point operations a second, bytes a second."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gcl_jax.benchmark import machine
from gcl_jax.runtime import backend, jax_settings
from gcl_jax.runtime.backend import MATMUL

GB = 2**30


class _Ceiling:
    _program: Callable[[jax.Array], jax.Array]
    _array: jax.Array
    _work: dict[str, int]

    def __init__(self):
        self.run(2)

    def run(self, units: int) -> None:
        """Do it ``units`` times."""
        for _ in range(units):
            self._array = self._program(self._array)
        jax.block_until_ready(self._array)

    def facts(self) -> dict:
        """Work per unit."""
        return {"host_peak_bytes": machine.host_peak_bytes(), **self._work}


class Matmul(_Ceiling):
    """A unit is one product of two large square matrices, at ``precision``."""

    def __init__(self, precision: str):
        backend.keep_freed_memory()
        jax_settings.pin()
        jax.config.update("jax_default_matmul_precision", MATMUL[precision])
        side = 2048 if backend.is_cpu() else 8192
        dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
        other = jnp.full((side, side), 1 / side, dtype)  # a product with ones is ones again
        program = jax.jit(jnp.matmul)
        self._program = lambda array: program(array, other)
        self._array = jnp.ones((side, side), dtype)
        self._work = {"flops_per_unit": 2 * side**3}
        super().__init__()


class Copy(_Ceiling):
    """A unit is one copy of a large array onto itself: all of it read once and written once."""

    def __init__(self):
        backend.keep_freed_memory()
        jax_settings.pin()
        size = GB // 4 if backend.is_cpu() else GB
        self._program = jax.jit(lambda x: x + 1, donate_argnums=0)  # what is copied has to differ, or XLA leaves it out
        self._array = jnp.zeros(size // 4, jnp.float32)
        self._work = {"bytes_per_unit": 2 * size}
        super().__init__()
