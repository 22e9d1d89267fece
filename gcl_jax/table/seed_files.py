"""What a finished seed of a stage left in its folder, read with suspicion: UserError names the file that is damaged."""

import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from etils import epath

from gcl_jax import json_files, npz_files
from gcl_jax.errors import UserError
from gcl_jax.paths import done_file
from gcl_jax.workdir.results import COLUMNS, balanced_accuracy

SPLITS = ("test", "validation")


def is_finished(folder: Path) -> bool:
    """Whether the seed in ``folder`` has its result; UserError for a folder that cannot be looked into."""
    with reading(folder):
        return (folder / "result.json").exists()


def read(folder: Path, stage: str) -> dict:
    """What result.json of the seed in ``folder`` says of ``stage``, once all that lies beside it has proved readable.

    {"metrics": {column: value}, "best", "test_images", "seconds", "stage_key", "started_from", "data": the fingerprint,
    "machine"}. Files that are not there are no damage, but for result.json.
    """
    result = _json(folder / "result.json")
    with of_our_shape(folder / "result.json"):
        scores = of_result(result, stage) | {
            "stage_key": result["stages"][stage].get("stage_key"),
            "started_from": result["stages"][stage].get("started_from"),
            "seconds": float(result["stages"][stage]["seconds"]),
            "data": str(result["data"]["fingerprint"]),
            "machine": _machine(result),
        }
    beside = {
        folder.parent / "config.json": ["training"],
        folder.parent / "result.json": ["seeds"],
        done_file(folder, stage): ["final"],
    }
    for file, keys in beside.items():
        with reading(file):
            there = file.exists()
        if there:
            _json(file, *keys)
    for split in SPLITS:
        _require_whole(folder / stage / f"predictions_{split}.npz")
    return scores


def of_result(result: Mapping, stage: str) -> dict:
    """The "metrics", "best" and "test_images" of ``stage`` in a result; KeyError, TypeError, ... for another shape."""
    done = result["stages"][stage]
    test = dict(done["final"]["test"])
    test["balanced_accuracy"] = test["macro_recall"] = balanced_accuracy(test)  # an older version had one of them
    metrics = {name: test[name] for name in COLUMNS}
    best = done["best"].get("on_test", {}).get("test_accuracy")
    for name, value in {**metrics, "best": best}.items():
        if not (value is None and name not in ("accuracy", "nll", "ece")) and not _is_number(value):
            raise TypeError(f"{name} is {value!r:.40}")
    return {"metrics": metrics, "best": best, "test_images": int(test["num_examples"])}


def posthoc(file: Path, seeds: range, stage: str) -> dict[int, dict]:
    """`of_result` of every seed in the file of a posthoc evaluation; UserError where it is damaged."""
    content = _json(file)
    with of_our_shape(file):
        return {seed: of_result(content[f"seed_{seed}"], stage) for seed in seeds}


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Make an OSError, as of a folder without permission, a UserError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): see to its permissions") from error


def _json(file: Path, *keys: str) -> dict:
    with reading(file):
        return json_files.read(epath.Path(file), *keys)


@contextlib.contextmanager
def of_our_shape(file: Path) -> Iterator[None]:
    """Make what goes wrong with JSON of another shape a UserError that calls ``file`` damaged."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        message = f"it has no {error}" if isinstance(error, KeyError) else f"its content is of another shape: {error}"
        raise UserError(f"{file} is damaged ({message}): remove it to have it written again") from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _machine(result: Mapping) -> str:
    device, versions = result["device"], result["versions"]
    code = f"gcl_jax {versions['gcl_jax']}" + (f" ({result['code']})" if "code" in result else "")  # it is of late
    return f"{device['count']} x {device['kind']}, Python {versions['python']}, jax {versions['jax']}, {code}"


def _require_whole(file: Path) -> None:
    with reading(file):
        if not file.exists():
            return
        about = file.stat()
    if message := _trouble(str(file), about.st_mtime_ns, about.st_size):
        raise UserError(message)


@functools.cache
def _trouble(file: str, changed: int, size: int) -> str:
    """What is wrong with an .npz, or nothing; looked at once while it stays as it is: tables are read often."""
    try:
        npz_files.read(file, "the row's predictions")
    except UserError as error:
        return str(error)
    return ""
