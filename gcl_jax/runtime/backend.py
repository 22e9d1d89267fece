"""What depends on the backend, in one place: CPU and accelerators want different programs."""

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


# What convolutions compute in, and how precise products are, by config.precision.
DTYPES = {"float32": "float32", "tf32": "float32", "bf16": "bfloat16"}
MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "default"}


def matmul_precision(precision: str) -> contextlib.AbstractContextManager[None]:
    """A context in which convolutions and products have ``config.precision``."""
    import jax

    return jax.default_matmul_precision(MATMUL[precision])


LOOP_ROWS = 64  # rows of the plan that a dispatch which loops is given


def loops(*, resident: bool) -> bool:
    """Whether one dispatch can take several train steps, in a loop.

    That runs many times slower than single steps on CPU, around convolutions, and rounds differently; an accelerator
    would wait for the host between steps, unless the data come from there (not ``resident``) anyway.
    """
    return resident and not is_cpu()


def steps_per_call(wanted: int, most: int, *, resident: bool = True) -> int:
    """The most train steps that a dispatch takes: where it `loops`, ``wanted`` (0 = all) up to ``most``, else 1.

    >>> steps_per_call(8, most=5, resident=False)
    1
    """
    return min(wanted or most, most, LOOP_ROWS) if loops(resident=resident) else 1


def eval_batch_size(wanted: int) -> int:
    """Images per evaluation batch: ``wanted``, or for 0 what suits the backend.

    On CPU large batches are no faster and their temporaries, of a size that training never
    asks for, leave holes in the memory that `keep_freed_memory` keeps: 4.6 GB at 1024, 1.1 at 256.

    >>> eval_batch_size(64)
    64
    """
    return wanted or (256 if is_cpu() else 1024)


def keep_freed_memory() -> bool:
    """Let malloc keep what a CPU step frees, and use it again for the next one; call before JAX starts.

    glibc gives large blocks back to the system, which zeroes their pages anew at every step: 1.2 x on a ResNet-32
    step. Nothing is done where JAX may find an accelerator, whose host has other work, or without glibc.
    Returns whether it was done.
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
