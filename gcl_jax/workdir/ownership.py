"""Whose run a folder holds: config.json, and the refusal to mix two runs in one folder."""

import json
from collections.abc import Iterable, Sequence

from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import errors, json_files, json_shape, logs, paths
from gcl_jax.checkpoints import integrity
from gcl_jax.config import migrate, stage_fingerprint
from gcl_jax.data import Dataset, summary
from gcl_jax.errors import UserError
from gcl_jax.json_shape import NUMBER
from gcl_jax.paths import done_file


def stage_around(folder: epath.Path) -> tuple[epath.Path, str] | None:
    """(run or one of its seeds, stage) of which ``folder`` is the stage's own, or lies in it; None where it is none."""
    for path in (folder, *folder.parents[:3]):  # STAGE, and in it best_on_validation/checkpoints/STEP
        if (path / "DONE.json").exists() or (path / "checkpoints").exists():
            files = [run / "config.json" for run in path.parents[:2]]  # a run's, or that of the run of several seeds
            config = next((_config_in(file) for file in files if file.exists()), {})
            if path.name in (config.get("stages") or ()):
                return path.parent, path.name
    return None


def require_no_stage(folder: epath.Path) -> None:
    """Raise UserError if ``folder`` is that of a stage, or lies in it, and so is none of a run."""
    if around := stage_around(folder):
        run, stage = around
        raise UserError(f"--workdir={folder} is of a stage, {stage}: name the folder of its run, {run}")


def _config_in(file: epath.Path) -> dict:
    """The config of the run whose config.json this is, as far as it is read here; UserError where it is none."""
    return json_files.read(file, shape={"config": {"posthoc?": dict, "tuning?": dict, "data?": dict, "eval?": dict}})[
        "config"
    ]


def _training_in(file: epath.Path) -> dict:
    """The training keys of the run whose config.json this is; UserError where there are none."""
    return json_files.read(file, shape={"training": dict})["training"]


def require_readable(folders: Iterable[epath.Path], names: Sequence[str]) -> None:
    """Raise UserError if anything cannot be seen of the runs in ``folders`` with the stages ``names``."""
    stages = [folder / name for folder in folders for name in names]
    inside = [stage / part for stage in stages for part in ("checkpoints", f"{integrity.BEST}/checkpoints", "damaged")]
    errors.require_readable([*folders, *stages, *inside])


_AS_THEN = (
    "train it to its end with that version, or anew in another --workdir (finished stages can be the init_from of that)"
)


def refuse_older_state(root: epath.Path, names: Sequence[str]) -> None:
    """Raise UserError if a stage of the run in ``root`` would go on from an older version's optimizer state."""
    file = root / "config.json"
    if not (_holds_something(root) and file.exists() and migrate.has_old_optimizer_state(_training_in(file))):
        return
    for name in names:
        for checkpoints in (f for level in ("", "seed_*/") for f in paths.matching(root, f"{level}{name}/checkpoints")):
            stage = checkpoints.parent
            if paths.matching(checkpoints, "[0-9]*") and not done_file(stage.parent, name).exists():
                raise UserError(
                    f"{stage} is of an older gcl_jax, whose optimizers kept their state otherwise: {_AS_THEN}"
                )


def places(config: ConfigDict) -> dict:
    """Where the data lie."""
    return {"path": config.data.path, **stage_fingerprint.files(config)}


def places_in(root: epath.Path) -> dict | None:
    """The same of the config that trained the run in ``root``; None where an older version wrote it."""
    try:
        return places(ConfigDict(_config_in(root / "config.json")))
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def starts_of(config: dict, names: Sequence[str]) -> dict:
    """Where each stage starts from, if not from the one before."""
    return {name: config[name]["init_from"] for name in names}


def starts_in(root: epath.Path, names: Sequence[str]) -> dict | None:
    """The same of the config that trained the run in ``root``; None where there is none, or an older version's."""
    file = root / "config.json"
    try:
        return starts_of(_config_in(file), names) if file.exists() else None
    except (KeyError, TypeError, UserError):  # nothing may have been saved yet, else `compare` has refused it
        return None


def compare_rules(root: epath.Path, config: ConfigDict) -> None:
    """Raise UserError if the run in ``root`` is evaluated under other posthoc rules: one result is under one set."""
    if differing := _other_rules(root, config):
        raise UserError(
            f"the numbers of the run in {root} are under other rules after training ({'; '.join(differing)}): "
            "--eval_only shows what it has under these, beside them; or choose another --workdir"
        )


def same_rules(root: epath.Path, config: ConfigDict) -> bool:
    """Whether ``config`` has the posthoc rules and the views of evaluation of the run in ``root``."""
    return not _other_rules(root, config)


def _other_rules(root, config):
    """In which posthoc rules or views of evaluation ``config`` differs from the run in ``root``, if there is one."""
    file = root / "config.json"
    if not _holds_something(root) or not file.exists():
        return []
    old_config = _config_in(file)
    old_views, views = ({"views": block.get("views", ())} for block in (old_config.get("eval", {}), config.eval))
    rules = config_lib.TOP["posthoc"] | old_config.get("posthoc", {})
    return stage_fingerprint.differences(rules, config.posthoc.to_dict(), "config.posthoc") + (
        stage_fingerprint.differences(old_views, views, "config.eval")
    )


def tuned_value(root: epath.Path, config: ConfigDict) -> float:
    """The value chosen for ``config.tuning.key`` with which the run in ``root`` was trained; UserError if none was."""
    file, key = root / "config.json", config.tuning.key
    known = _config_in(file) if file.exists() else {}
    try:
        value = config_lib.value_at(known, key)
        then = known["tuning"]
    except (LookupError, TypeError):
        raise UserError(f"{root} holds no choice of {key} yet: train first") from None
    if message := json_shape.mismatch(value, NUMBER, f"config.{key}"):
        raise json_files.damaged(file, message)
    assert isinstance(value, float | int)  # which it is now
    if differing := stage_fingerprint.differences(
        then, json.loads(json.dumps(config.tuning.to_dict())), "config.tuning"
    ):
        raise UserError(
            f"{root} holds a choice of {key} by another rule ({'; '.join(differing)}): choose another --workdir, or "
            "give the config that it was trained with"
        )
    return value


def require_own_data(root: epath.Path, dataset: Dataset) -> None:
    """Raise UserError unless ``dataset`` is the one on which the run in ``root`` was trained."""
    known = _training_in(root / "config.json")
    fingerprint = fingerprint_of(root, dataset, goes_on=False)
    if known.get("data_fingerprint", fingerprint) != fingerprint:
        raise UserError(f"the data of the run in {root} are not what they were when it was trained: put them back")


def fingerprint_of(root: epath.Path, dataset: Dataset, *, goes_on: bool) -> str:
    """The fingerprint of ``dataset`` as the version made it that trained the run in ``root``.

    Up to commit 8f92ab7 photographs were known by their names, and JPEG was decoded otherwise: a run of then that
    ``goes_on`` would do so on other pixels, so that UserError is raised; where it is only looked at, that is said.
    """
    file = root / "config.json"
    known = json_files.read(file, "training")["training"] if _holds_something(root) and file.exists() else {}
    then = known.get("data_fingerprint") if isinstance(known, dict) else None
    if then == dataset.fingerprint or then != dataset.legacy_fingerprint:
        return dataset.fingerprint
    message = "is of an older gcl_jax, which decoded JPEG to slightly other pixels and knew photographs by name alone"
    if goes_on:
        raise UserError(f"the run in {root} {message}: {_AS_THEN}")
    logs.log_info(f"the run in {root} {message}: today's pixels are used, and images replaced since are not noticed")
    return then


def compare(root: epath.Path, keys: dict, data: dict | None = None, *, apart_from: str = "") -> None:
    """Raise UserError naming the training keys in which ``keys`` differs from those of the run in ``root``.

    ``data``, a `data.summary`, says in what the data differ where their fingerprints do. ``apart_from`` is a dotted key
    that may differ.
    """
    if not _holds_something(root):
        return
    file = root / "config.json"
    if not file.exists():
        hint = "choose another --workdir"
        if root.name.startswith("seed_") and (root.parent / "config.json").exists():
            hint = f"it is a seed of the run in {root.parent}: name that, with its seeds, or {hint}"
        raise UserError(f"{root} holds a run but no config.json to tell whose: {hint}")
    content = json_files.read(file, shape={"training": dict})
    known = migrate.training_keys(content["training"])
    known = {k: v for k, v in known.items() if k in keys or k != "data_fingerprint"}
    differing = [d for d in stage_fingerprint.differences(known, keys) if d.split(":")[0] != f"config.{apart_from}"]
    if [d.split(":")[0] for d in differing] == ["config.data_fingerprint"]:
        raise UserError(
            f"{root} holds a run on other data ({summary.difference(content.get('data'), data or {})}): put the data "
            "back as they were, or choose another --workdir"
        )
    if differing:
        message = "; ".join(differing)
        raise UserError(
            f"{root} holds a run of another config ({message}): choose another --workdir, or give the config and the "
            f"data it was started with{_to_train_longer(root, known, keys)}"
        )


def _to_train_longer(root: epath.Path, known: dict, keys: dict) -> str:
    """How a stage of the run in ``root`` is trained for longer, if that is what is asked for; "" if not."""
    for name in keys.get("stages", ()):
        blocks = (known.get(name), keys[name])
        then, now = (block.get("epochs") if isinstance(block, dict) else None for block in blocks)
        if isinstance(then, int) and isinstance(now, int) and now > then:
            folder = root / "seed_N" / name if keys.get("folder_per_seed") else root / name
            each = ", for each seed N alone" if keys.get("folder_per_seed") else ""
            return (
                f". A schedule is for its number of epochs; to train {name} on from where it ended, under a schedule "
                f"of its own, give another --workdir and --config.{name}.init_from={folder}{each}"
            )
    return ""


def _holds_something(root: epath.Path) -> bool:
    # A stage's folder, or a seed's and in it a stage's, and its best in that; an object store globs level by level.
    patterns = [f"{level}{what}" for level in ("*/", "*/*/", "*/*/*/") for what in ("checkpoints/[0-9]*", "DONE.json")]
    return any(paths.matching(root, pattern) for pattern in ("result.json", *patterns))


def keys_of(config: ConfigDict, names: Sequence[str], per_seed: bool) -> dict:
    """The training keys of a run of the stages ``names``, as JSON has them."""
    keys = stage_fingerprint.training_keys(config, config.stages[-1])
    for skipped in set(config.stages) - set(names):
        del keys[skipped]
    keys |= {"stages": names, "folder_per_seed": per_seed}
    return json.loads(json.dumps(keys, default=list))
