"""Whose run a folder holds: config.json, and the refusal to mix two runs in one folder."""

import json
import time
from collections.abc import Callable, Sequence

from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import distributed, logs
from gcl_jax.errors import UserError


def read_json(path: epath.Path, *keys: str) -> dict:
    """The object in a JSON file of ours, which has ``keys``; UserError when the file is damaged."""
    cure = "remove it to have it written again"
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): {cure}") from error
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path} is damaged (it holds no object): {cure}")
    if missing := [key for key in keys if key not in found]:
        raise UserError(f"{path} is damaged (it has no {missing[0]}): {cure}")
    return found


def claim(
    root: epath.Path,
    config: ConfigDict,
    names: Sequence[str],
    per_seed: bool,
    fingerprint: Callable[[], str],
    *,
    finished: bool,
) -> None:
    """Make ``root`` the folder of this run, or raise UserError with what differs from the run it holds.

    ``fingerprint`` reads the data, and is asked only if the run is not ``finished``. A folder in
    which nothing has been saved yet can be claimed anew, so that a corrected command just works.
    """
    keys = _keys(config, names, per_seed)
    distributed.first(lambda: compare(root, keys))
    if finished:
        return
    keys["data_fingerprint"] = same_data(fingerprint)

    def write():
        compare(root, keys)
        try:
            root.mkdir(parents=True, exist_ok=True)
            logs.write_json(root / "config.json", {"training": keys, "config": config.to_dict()})
        except OSError as error:
            raise UserError(
                f"--workdir={root} cannot be written ({error.strerror or error}): name another folder"
            ) from error

    distributed.first(write)
    distributed.everywhere(lambda: _require_visible(root / "config.json"))


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
    root: epath.Path, config: ConfigDict, names: Sequence[str], per_seed: bool, fingerprint: Callable[[], str]
) -> None:
    """Like `claim`, for a look that writes nothing: raise UserError if ``root`` holds another run."""
    distributed.first(lambda: compare(root, _keys(config, names, per_seed)))
    keys = _keys(config, names, per_seed) | {"data_fingerprint": same_data(fingerprint)}
    distributed.first(lambda: compare(root, keys))


def compare(root: epath.Path, keys: dict) -> None:
    """Raise UserError naming the training keys in which ``keys`` differs from those of the run in ``root``."""
    # A stage's folder, or a seed's folder and in it a stage's; an object store globs level by level only.
    patterns = [f"{level}{what}" for level in ("*/", "*/*/") for what in ("checkpoints/[0-9]*", "DONE.json")]
    if not any(list(root.glob(pattern)) for pattern in ("result.json", *patterns)):
        return
    file = root / "config.json"
    if not file.exists():
        raise UserError(f"{root} holds a run but no config.json to tell whose: choose another --workdir")
    known = read_json(file, "training")["training"]
    if not isinstance(known, dict):
        raise UserError(f"{file} is damaged (its training is no object): choose another --workdir")
    differing = config_lib.differences({k: v for k, v in known.items() if k in keys or k != "data_fingerprint"}, keys)
    if differing:
        raise UserError(
            f"{root} holds a run of another config ({'; '.join(differing)}): choose another --workdir, or give the "
            "config and the data it was started with"
        )


def _keys(config, names, per_seed) -> dict:
    keys = config_lib.training_keys(config, config.stages[-1])
    for skipped in set(config.stages) - set(names):
        del keys[skipped]
    keys |= {"stages": names, "folder_per_seed": per_seed}
    return json.loads(json.dumps(keys, default=list))
