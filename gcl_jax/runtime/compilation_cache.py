"""Compiled programs on disk, so that the second run of a config does not compile."""

import hashlib
import os
import pathlib
import platform
from typing import Any

import jax


def use() -> pathlib.Path | None:
    """Keep compiled programs under ~/.cache/gcl_jax (XDG_CACHE_HOME); JAX_COMPILATION_CACHE_DIR names another folder.

    Programs for the CPU hold instructions of its kind, so each kind has a folder of its own: a home that several
    machines share is safe. Returns the folder, or None if it cannot be written, which costs time only.
    """
    options: Any = jax.config  # whose options are attributes that it gets as JAX is imported
    if not options.jax_compilation_cache_dir:
        base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        folder = pathlib.Path(base) / "gcl_jax" / f"xla-{_cpu_kind()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return pathlib.Path(options.jax_compilation_cache_dir)


def _cpu_kind() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]
    return hashlib.sha256("\n".join([platform.machine(), platform.processor(), *features]).encode()).hexdigest()[:12]
