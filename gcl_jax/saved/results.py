"""result.json and the table at the end of a run."""

import functools
import hashlib
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Mapping

import jax
import numpy as np

import gcl_jax
from gcl_jax.machine import jax_settings

COLUMNS = ("accuracy", "many", "medium", "few", "macro_recall", "nll", "ece")


def environment() -> dict:
    """Versions, code, what the compiler and JAX were told, and devices that produced a number."""
    devices = jax.devices()
    return {
        "versions": versions(),
        "code": code(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "compiler_environment": jax_settings.compiler(),
        "jax_settings": jax_settings.used(),
        "device": {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)},
        "processes": jax.process_count(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """Of Python, this package and those that compute."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    own = {"gcl_jax": gcl_jax.__version__, "python": platform.python_version()}
    return own | {p: importlib.metadata.version(p) for p in packages}


@functools.cache  # what runs, not what lies there when a long run ends
def code() -> str:
    """A digest of this package's source: two processes of different code could wait for each other for ever."""
    root = pathlib.Path(gcl_jax.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def across_seeds(results: Mapping[str, Mapping]) -> dict:
    """Mean and sample standard deviation of every headline number over seeds {name: result}; None with one seed.

    Of the stages that all of them have: an evaluation can find one seed further than another.

    >>> one = lambda a: {"stages": {"s": {"final": {"test": {"accuracy": a, "few": None}}}}}
    >>> across_seeds({"seed_0": one(1.0), "seed_1": one(3.0)})["s"]["accuracy"]["mean"]
    2.0
    """
    first, *others = (result["stages"] for result in results.values())
    stages = [stage for stage in first if all(stage in other for other in others)]
    table = {}
    for stage in stages:
        table[stage] = {}
        for column in COLUMNS:
            values = [r["stages"][stage]["final"]["test"].get(column) for r in results.values()]
            if all(v is not None for v in values):
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                table[stage][column] = {"mean": float(np.mean(values)), "std": spread}
    return table


def format_table(result: Mapping) -> str:
    """The final table: one row a stage, percents on the test set, best-on-test in brackets."""
    head = (
        f"{'stage':<16}{'epochs':>7}{'accuracy':>10}{'(best)':>9}{'many':>8}{'medium':>8}{'few':>8}{'NLL':>8}{'ECE':>8}"
    )
    rows = [head, "-" * len(head)]
    for name, stage in result["stages"].items():
        test = stage["final"]["test"]
        best = stage["best"].get("on_test", {}).get("test_accuracy")
        cells = [
            _percent(test["accuracy"]),
            f"({_percent(best)})",
            *(_percent(test[g]) for g in ("many", "medium", "few")),
        ]
        rows.append(
            f"{name:<16}{stage['epochs']:>7}{cells[0]:>10}{cells[1]:>9}{cells[2]:>8}{cells[3]:>8}{cells[4]:>8}"
            f"{test['nll']:>8.3f}{100 * test['ece']:>8.2f}"
        )
    data = result["data"]
    counts = data["class_counts"]
    rows.append(
        f"test accuracy in %, last epoch, best-on-test in brackets; {data['num_train']} training images, "
        f"{max(counts)} to {min(counts)} a class; {data['num_test']} test images"
    )
    return "\n".join(rows)


def format_seeds(result: Mapping) -> str:
    """The table over seeds: mean +- standard deviation a stage."""
    seeds = len(result["seeds"])
    rows = [f"{seeds} seeds, test set, last epoch, mean +- standard deviation"]
    for stage, columns in result["across_seeds"].items():
        cells = [
            f"{name} {value['mean']:.2f} +- {value['std']:.2f}"
            for name, value in columns.items()
            if name in ("accuracy", "many", "medium", "few")
        ]
        rows.append(f"{stage:<16}" + "   ".join(cells))
    return "\n".join(rows)


def _percent(value):
    return "-" if value is None else f"{value:.2f}"
