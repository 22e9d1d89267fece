"""Whose run a folder holds: config.json, and the refusal to mix two runs in one folder."""

import json
import time
from collections.abc import Callable, Sequence

from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import json_files
from gcl_jax.config import identity, older
from gcl_jax.errors import UserError
from gcl_jax.machine import distributed


def done_file(folder: epath.Path, stage: str) -> epath.Path:
    """The file in a run's folder whose presence says that ``stage`` is finished; written last."""
    return folder / stage / "DONE.json"


def claim(
    root: epath.Path,
    config: ConfigDict,
    names: Sequence[str],
    per_seed: bool,
    fingerprint: Callable[[], str],
    check_starts: Callable[[], None],
    *,
    finished: bool,
) -> None:
    """Make ``root`` the folder of this run, or raise UserError with what differs from the run it holds.

    ``fingerprint`` reads the data; of a ``finished`` run it is asked only if the data lie elsewhere now, and nothing is
    written. ``check_starts`` is called if an init_from is not what it was, and of a run that goes on if one is there. A
    folder in which nothing has been saved yet can be claimed anew, so that a corrected command just works.
    """
    distributed.first(lambda: compare_rules(root, config))
    keys = _compared(root, config, names, per_seed, check_starts, goes_on=not finished)
    if finished and distributed.first(lambda: _places(config) == _places_in(root)):
        return
    keys["data_fingerprint"] = same_data(fingerprint)
    if finished:
        distributed.first(lambda: compare(root, keys))
        return

    def write():
        compare(root, keys)
        try:
            root.mkdir(parents=True, exist_ok=True)
            json_files.write(root / "config.json", {"training": keys, "config": config.to_dict()})
        except OSError as error:
            raise UserError(
                f"--workdir={root} cannot be written ({error.strerror or error}): name another folder"
            ) from error

    distributed.first(write)
    distributed.everywhere(lambda: _require_visible(root / "config.json"))


def _places(config: ConfigDict) -> dict:
    """Where the data lie."""
    return {"path": config.data.path, **identity.files(config)}


def _places_in(root: epath.Path) -> dict | None:
    """The same of the config that trained the run in ``root``; None where an older version wrote it."""
    try:
        return _places(ConfigDict(json_files.read(root / "config.json", "config")["config"]))
    except (AttributeError, KeyError, TypeError):
        return None


def _starts(config: dict, names: Sequence[str]) -> dict:
    """Where each stage starts from, if not from the one before."""
    return {name: config[name]["init_from"] for name in names}


def _starts_in(root: epath.Path, names: Sequence[str]) -> dict | None:
    """The same of the config that trained the run in ``root``; None where there is none, or an older version's."""
    file = root / "config.json"
    try:
        return _starts(json_files.read(file, "config")["config"], names) if file.exists() else None
    except (KeyError, TypeError, UserError):  # nothing may have been saved yet, else `compare` has refused it
        return None


def check_before_tuning(root: epath.Path, config: ConfigDict, names: Sequence[str], per_seed: bool) -> None:
    """Raise UserError if ``root`` holds another run, in more than the value that is still to be chosen."""
    distributed.first(lambda: compare(root, _keys(config, names, per_seed), apart_from=config.tuning.key))


def compare_rules(root: epath.Path, config: ConfigDict) -> None:
    """Raise UserError if the run in ``root`` is evaluated under other posthoc rules: one result is under one set."""
    file = root / "config.json"
    if not _holds_something(root) or not file.exists():
        return
    known = json_files.read(file, "config")["config"]
    rules = known.get("posthoc", {}) if isinstance(known, dict) else {}
    if differing := identity.differences(config_lib.TOP["posthoc"] | rules, config.posthoc.to_dict(), "config.posthoc"):
        raise UserError(
            f"the numbers of the run in {root} are under other rules after training ({'; '.join(differing)}): "
            "--eval_only shows what it has under these, beside them; or choose another --workdir"
        )


def tuned_value(root: epath.Path, config: ConfigDict) -> float:
    """The value chosen for ``config.tuning.key`` with which the run in ``root`` was trained; UserError if none was."""
    file, key = root / "config.json", config.tuning.key
    known = json_files.read(file, "config")["config"] if file.exists() else {}
    try:
        found = config_lib.value_at(known, key)
        then = known["tuning"]
    except (KeyError, TypeError):
        raise UserError(f"{root} holds no choice of {key} yet: train first") from None
    if differing := identity.differences(then, json.loads(json.dumps(config.tuning.to_dict())), "config.tuning"):
        raise UserError(
            f"{root} holds a choice of {key} by another rule ({'; '.join(differing)}): choose another --workdir, or "
            "give the config that it was trained with"
        )
    return found


def require_own_data(root: epath.Path, fingerprint: str) -> None:
    """Raise UserError unless ``fingerprint`` is that of the data on which the run in ``root`` was trained."""
    known = json_files.read(root / "config.json", "training")["training"]
    if known.get("data_fingerprint", fingerprint) != fingerprint:
        raise UserError(f"the data of the run in {root} are not what they were when it was trained: put them back")


def same_data(fingerprint: Callable[[], str]) -> str:
    """The fingerprint of the data; UserError in every process where one has none, or another."""
    found = distributed.everywhere(fingerprint)
    distributed.same("the data set (what its files hold)", found)
    return found


def _require_visible(file: epath.Path) -> None:
    """Raise UserError unless ``file``, which another process has written, comes to be seen here."""
    for _ in range(60):  # a network file system may take a while
        if file.exists():
            return
        time.sleep(0.5)
    raise UserError(f"{file}, which process 0 has written, is not seen here: name a --workdir that all processes share")


def check(
    root: epath.Path,
    config: ConfigDict,
    names: Sequence[str],
    per_seed: bool,
    fingerprint: Callable[[], str],
    check_starts: Callable[[], None],
) -> None:
    """Like `claim`, for a look that writes nothing: raise UserError if ``root`` holds another run."""
    keys = _compared(root, config, names, per_seed, check_starts) | {"data_fingerprint": same_data(fingerprint)}
    distributed.first(lambda: compare(root, keys))


def _compared(root, config, names, per_seed, check_starts, *, goes_on=False) -> dict:
    """The keys of this run, equal to those in ``root`` as far as they are known without the data."""
    keys, starts = _keys(config, names, per_seed), _starts(config.to_dict(), names)
    distributed.first(lambda: compare(root, keys))
    there = [start for start in starts.values() if start and epath.Path(start).expanduser().exists()]
    if distributed.first(lambda: _starts_in(root, names) != starts or (goes_on and bool(there))):
        check_starts()
    return keys


def compare(root: epath.Path, keys: dict, *, apart_from: str = "") -> None:
    """Raise UserError naming the training keys in which ``keys`` differs from those of the run in ``root``.

    ``apart_from`` is a dotted key that may differ.
    """
    if not _holds_something(root):
        return
    file = root / "config.json"
    if not file.exists():
        raise UserError(f"{root} holds a run but no config.json to tell whose: choose another --workdir")
    known = json_files.read(file, "training")["training"]
    if not isinstance(known, dict):
        raise UserError(f"{file} is damaged (its training is no object): choose another --workdir")
    known = older.training_keys(known)
    known = {k: v for k, v in known.items() if k in keys or k != "data_fingerprint"}
    differing = [d for d in identity.differences(known, keys) if d.split(":")[0] != f"config.{apart_from}"]
    if differing:
        raise UserError(
            f"{root} holds a run of another config ({'; '.join(differing)}): choose another --workdir, or give the "
            "config and the data it was started with"
        )


def _holds_something(root: epath.Path) -> bool:
    # A stage's folder, or a seed's and in it a stage's, and its best in that; an object store globs level by level.
    patterns = [f"{level}{what}" for level in ("*/", "*/*/", "*/*/*/") for what in ("checkpoints/[0-9]*", "DONE.json")]
    return any(list(root.glob(pattern)) for pattern in ("result.json", *patterns))


def _keys(config, names, per_seed) -> dict:
    keys = identity.training_keys(config, config.stages[-1])
    for skipped in set(config.stages) - set(names):
        del keys[skipped]
    keys |= {"stages": names, "folder_per_seed": per_seed}
    return json.loads(json.dumps(keys, default=list))
