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
from gcl_jax import aligned
from gcl_jax.json_shape import MAYBE_NUMBER, NUMBER
from gcl_jax.runtime import jax_settings

COLUMNS = ("accuracy", "balanced_accuracy", "many", "medium", "few", "macro_recall", "nll", "ece")
GROUPS = ("many", "medium", "few")
OVER = """\
in %, accuracy over the test images; balanced (accuracy, or macro recall), many, medium and few over classes: means of
theirs; NLL in nats, ECE in %"""

# What is read of a result.json again; further numbers lie beside these.
_SCORES = {
    "accuracy": NUMBER, "many": MAYBE_NUMBER, "medium": MAYBE_NUMBER, "few": MAYBE_NUMBER, "nll": NUMBER, "ece": NUMBER,
    "macro_recall?": MAYBE_NUMBER, "balanced_accuracy?": MAYBE_NUMBER, "per_class?": [MAYBE_NUMBER, ...],
}  # fmt: skip
DONE = {"final": {"test": _SCORES}, "epochs": int, "best": {"on_test?": {"test_accuracy?": MAYBE_NUMBER}}}
RESULT = {
    "stages": {str: DONE},
    "final": {"test": _SCORES},
    "data": {"class_counts": [int], "num_train": int, "num_test": int, "num_validation?": int},
    "config": {"data": {"validation_fraction": NUMBER}},
}
_SPREAD = {"mean": NUMBER, "std": MAYBE_NUMBER}
SEEDS = {"seeds": {str: RESULT}, "across_seeds": {str: {str: _SPREAD}}}


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
    named_versions = {"gcl_jax": gcl_jax.__version__, "python": platform.python_version()}
    return named_versions | {p: importlib.metadata.version(p) for p in packages}


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
    table: dict[str, dict[str, dict]] = {}
    for stage in stages:
        table[stage] = {}
        for column in COLUMNS:
            tests = [r["stages"][stage]["final"]["test"] for r in results.values()]
            of_seeds = [balanced_accuracy(t) if column == "balanced_accuracy" else t.get(column) for t in tests]
            values = [value for value in of_seeds if value is not None]
            if len(values) == len(tests):
                with np.errstate(over="ignore", invalid="ignore"):  # of an NLL that is beyond all bounds
                    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                    table[stage][column] = {"mean": float(np.mean(values)), "std": spread}
    return table


def format_table(result: Mapping) -> str:
    """The final table: one row a stage, on the test set, with what each column is over below it."""
    heads = ("stage", "epochs", "accuracy", "(best)", "balanced", "many", "medium", "few", "NLL", "ECE %")
    rows: list[tuple[str, ...]] = [heads]
    some_best = any(stage["best"].get("on_test") for stage in result["stages"].values())
    for name, stage in result["stages"].items():
        test = stage["final"]["test"]
        best = stage["best"].get("on_test", {}).get("test_accuracy")
        values = [test["accuracy"], balanced_accuracy(test), *(test[group] for group in GROUPS)]
        accuracy, *classes = map(aligned.number, values)
        bracket = "-" if best is None else f"({aligned.number(best)})"
        calibration = (aligned.number(test["nll"], 3), aligned.number(percent(test["ece"])))
        rows.append((name, str(stage["epochs"]), accuracy, bracket, *classes, *calibration))
    if not some_best:  # --eval_only of what no training looked at by epoch
        rows = [row[:3] + row[4:] for row in rows]
    data = result["data"]
    # A published validation split takes nothing from training.
    cut = result["config"]["data"]["validation_fraction"] > 0
    counts, held_out = data["class_counts"], data.get("num_validation", 0) if cut else 0
    return "\n".join([
        f"{OVER}; last epoch" + (", best-on-test in brackets" if some_best else ""),
        *aligned.table(rows),
        f"{data['num_train']} training images, {max(counts)} to {min(counts)} a class"
        + (f" ({held_out} held out for validation; the groups are by what is left)" if held_out else "")
        + f"; {data['num_test']} test images",
    ])  # fmt: skip


def format_seeds(result: Mapping) -> str:
    """The table over seeds: mean +- standard deviation a stage."""
    names = {"accuracy": "accuracy", "balanced_accuracy": "balanced", **dict.fromkeys(GROUPS), "nll": "NLL"}
    rows = [("stage", *(head or name for name, head in names.items()), "ECE %")]
    for stage, columns in result["across_seeds"].items():
        columns = {"balanced_accuracy": columns.get("macro_recall")} | columns  # of an older version
        cells = [_mean_std(columns.get(name), 3 if name == "nll" else 2) for name in names]
        rows.append((stage, *cells, _mean_std(columns.get("ece"), 2, 100)))
    seeds = [name.removeprefix("seed_") for name in result["seeds"]]
    return "\n".join([
        f"{len(seeds)} seeds ({', '.join(seeds)}), test set, last epoch, mean +- standard deviation",
        *aligned.table(rows),
        OVER,
    ])  # fmt: skip


def balanced_accuracy(test: Mapping) -> float | None:
    """The balanced accuracy, in %, of a test result; from its classes where an older version wrote it.

    >>> balanced_accuracy({"accuracy": 90.0, "per_class": [100.0, None, 50.0]})
    75.0
    """
    for name in ("balanced_accuracy", "macro_recall"):
        if test.get(name) is not None:
            return test[name]
    present = [value for value in test.get("per_class", ()) if value is not None]
    return float(np.mean(present)) if present else None


def percent(fraction: float | None) -> float | None:
    """``fraction`` in %."""
    return None if fraction is None else 100 * fraction


def _mean_std(mean_and_std: Mapping | None, digits: int, factor: float = 1.0) -> str:
    if mean_and_std is None:
        return "-"
    spread = "" if mean_and_std["std"] is None else f" +- {aligned.number(factor * mean_and_std['std'], digits)}"
    return aligned.number(factor * mean_and_std["mean"], digits) + spread
