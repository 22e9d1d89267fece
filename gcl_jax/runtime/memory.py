"""Memory of a run: what a compiled step needs, what the devices have, and the peaks."""

import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

import jax

from gcl_jax.errors import UserError


def needed(compiled: jax.stages.Compiled) -> int:
    """Bytes that one device holds while the program runs: arguments, results and temporaries."""
    analysis: Any = compiled.memory_analysis()  # JAX gives it no type; CPU, GPU and TPU have it
    return (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes  # donated
        + analysis.temp_size_in_bytes
        + analysis.generated_code_size_in_bytes
    )


def available() -> int | None:
    """Bytes that each device offers to this process; None where the backend does not say.

    CPU "devices" share the memory of the machine.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // jax.local_device_count()
        except (ValueError, OSError):
            return None
    return (device.memory_stats() or {}).get("bytes_limit")


def require(bytes_needed: int, what: str, hint: str, limit: int | None) -> None:
    """Raise UserError if ``what`` needs more than ``limit`` bytes.

    >>> require(2**30, "a step", "use a smaller batch", limit=2**31)
    """
    if limit is not None and bytes_needed > limit:
        raise UserError(f"{what} needs {text(bytes_needed)} a device, which has {text(limit)}: {hint}")


def peaks() -> Mapping[str, int | None]:
    """Peak memory so far: ``host_peak_bytes`` of this process, ``device_peak_bytes`` of the first device.

    The latter is None on CPU, whose arrays are part of the host's.
    """
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "host_peak_bytes": kilobytes if sys.platform == "darwin" else 1024 * kilobytes,
        "device_peak_bytes": (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
    }


def text(number: int) -> str:
    """A number of bytes in words.

    >>> text(3 * 2**29), text(2**20)
    ('1.50 GiB', '1.0 MiB')
    """
    return f"{number / 2**30:.2f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"
