"""The machine that a number was measured on."""

import os
import platform
import resource
import sys
import time
from pathlib import Path


def busy_cores(seconds: float = 0.5) -> float | None:
    """How many of these cores work for others, watched for ``seconds`` in which we do not; None where unknown."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    if not before:
        return None
    return sum((after[core] - before[core]) / os.sysconf("SC_CLK_TCK") for core in before) / seconds


def _own_cores():
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _ticks():
    """Clock ticks that each core has been busy for."""
    stat, ticks = Path("/proc/stat"), {}
    for line in stat.read_text().splitlines() if stat.exists() else ():
        name, *values = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in _own_cores():
            user, nice, system, _, _, irq, softirq, steal = map(int, values[:8])
            ticks[name] = user + nice + system + irq + softirq + steal
    return ticks


def cpu_model() -> str:
    """The CPU as Linux names it, elsewhere as Python does."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def host_peak_bytes() -> int:
    """The most memory that this process has had resident so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
