"""Choices that depend on the backend: CPU and accelerators want different programs."""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os

# mallopt's parameters (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def is_cpu() -> bool:
    """Whether computations run on the CPU."""
    import jax

    return jax.default_backend() == "cpu"


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compiler_options() -> dict[str, str]:
    """Options of the train step's compilation.

    On CPU, jax 0.10's XLA drops optimization barriers before it fuses, and `models.conv` needs them until after:
    1.3 x on a ResNet-32 step. jax 0.12 keeps them anyway.
    """
    return {"xla_disable_hlo_passes": "cse_barrier_expander"} if is_cpu() else {}


# The dtype of convolutions, and the precision of matrix products, by config.precision.
DTYPES = {"float32": "float32", "tf32": "float32", "bf16": "bfloat16"}
MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "default"}


def matmul_precision(precision: str) -> contextlib.AbstractContextManager[None]:
    """A context in which convolutions and matrix products are computed in ``precision``, config.precision's value."""
    import jax

    return jax.default_matmul_precision(MATMUL[precision])


LOOP_ROWS = 64  # rows of the index plan that are handed to a dispatch of several steps


def loops(*, resident: bool) -> bool:
    """Whether one dispatch takes several train steps, in a loop: on an accelerator, for ``resident`` data.

    On CPU a loop around convolutions runs many times slower than single steps, and rounds differently. An accelerator
    would wait for the host between single steps; where the data come from the host, it does so anyway.
    """
    return resident and not is_cpu()


def steps_per_call(requested: int, max_steps: int, *, resident: bool = True) -> int:
    """How many train steps a dispatch takes at most: where it `loops`, ``requested`` (0 = ``max_steps``), else 1.

    >>> steps_per_call(8, max_steps=5, resident=False)
    1
    """
    return min(requested or max_steps, max_steps, LOOP_ROWS) if loops(resident=resident) else 1


def eval_batch_size(requested: int) -> int:
    """Images per evaluation batch: ``requested``, or for 0 what suits the backend.

    On CPU large batches are no faster, and their temporaries, larger than those of training, fragment the memory that
    `keep_freed_memory` keeps: 4.6 GB at 1024, 1.1 at 256.

    >>> eval_batch_size(64)
    64
    """
    return requested or (256 if is_cpu() else 1024)


def keep_freed_memory() -> bool:
    """Let malloc keep the memory that a CPU step frees, for the next step; call before JAX starts.

    glibc gives large blocks back to the system, which zeroes their pages anew at every step: 1.2 x on a ResNet-32
    step. Changes nothing where JAX may find an accelerator, whose host has other work, or without glibc.
    Returns whether the setting was changed.
    """
    platforms = os.environ.get("JAX_PLATFORMS")
    if platforms != "cpu" and (platforms or _has_accelerator_plugin()):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # no glibc
        return False
    # Threads allocate from arenas of their own, which can't hold a block this large.
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_ARENA_MAX, 1))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


def _has_accelerator_plugin() -> bool:
    # Where JAX looks for anything but the CPU.
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
