"""A run: the stages in order, for every seed, and result.json."""

import math
from collections.abc import Sequence

import jax
from etils import epath
from ml_collections import ConfigDict

from gcl_jax import checkpoint, data, handover, logs, metrics, results
from gcl_jax import config as config_lib
from gcl_jax import mesh as mesh_lib
from gcl_jax import workdir as workdirs
from gcl_jax.data import Dataset
from gcl_jax.errors import UserError
from gcl_jax.seed_run import done_file
from gcl_jax.stage import Stage
from gcl_jax.trainer import run_stage

MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "default"}


def run(config: ConfigDict, workdir: str, *, overrides: Sequence[str] = (), eval_only: bool = False) -> dict:
    """Train every stage of ``config`` in ``workdir`` (or go on where it stands) and return result.json.

    With ``num_seeds`` > 1 each seed has a folder of its own, equal to the run of that seed alone,
    and the result holds all of them with mean and standard deviation. A finished run returns its
    result at once. ``eval_only`` evaluates what is there with today's eval and posthoc keys and
    writes eval.json instead.

    Raises UserError for a bad config, bad data, or a workdir of another run.
    """
    config_lib.validate(config)
    root = epath.Path(workdir).expanduser().absolute()
    names = stages_to_run(config)
    with jax.default_matmul_precision(MATMUL[config.precision]), jax.debug_nans(config.debug_nans):
        lazy = _Lazy(config)
        seeds = range(config.seed, config.seed + config.num_seeds)
        folders = {s: root if config.num_seeds == 1 else root / f"seed_{s}" for s in seeds}
        if eval_only:
            workdirs.check(root, config, names, lambda: lazy.dataset.fingerprint)
        else:
            finished = all((folder / "result.json").exists() for folder in folders.values())
            workdirs.claim(root, config, names, lambda: lazy.build(names).fingerprint, finished=finished)
        if eval_only:
            found = {s: _evaluate_one(lazy, config, names, s, folder, overrides) for s, folder in folders.items()}
        else:
            found = _train(lazy, config, names, folders, overrides)
    each = {f"seed_{s}": found[s] for s in seeds}
    if config.num_seeds == 1:
        return each[f"seed_{config.seed}"]
    whole = {"across_seeds": results.across_seeds(each), "seeds": each}
    logs.write_json(root / ("eval.json" if eval_only else "result.json"), whole)
    return whole


def stages_to_run(config: ConfigDict) -> tuple[str, ...]:
    """The stages from the last one on that starts from somewhere else: what comes before it is not needed."""
    first = max((i for i, name in enumerate(config.stages) if config[name].init_from), default=0)
    return config.stages[first:]


def stage_before(config: ConfigDict, name: str) -> str | None:
    """The stage that precedes ``name``, or None for the first."""
    place = config.stages.index(name)
    return config.stages[place - 1] if place else None


class _Lazy:
    """Data and compiled stages, made when first needed and then shared by all seeds."""

    def __init__(self, config: ConfigDict):
        self._config, self._stages = config, {}
        self._dataset = self._loader = None
        # By default each seed has devices to itself, where there are enough; on one device seeds take turns: on CPU two
        # ResNet-32 side by side take 2.8 x as long, for their convolutions become grouped ones.
        self.seeds_at_once = config.seeds_at_once or math.gcd(config.num_seeds, jax.device_count())

    @property
    def dataset(self) -> Dataset:
        if self._dataset is None:
            keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
            self._dataset = data.load(**{key: self._config.data[key] for key in keys})
        return self._dataset

    def build(self, names: Sequence[str]) -> Dataset:
        """Build every stage, so that what is wrong with a later one shows before the first has trained."""
        for name in names:
            stage = self.stage(name, self.seeds_at_once)
            if name == names[0] and stage.freezes and not self._config[name].init_from:
                raise UserError(
                    f"config.{name} keeps parameters frozen but has nothing to start from: set "
                    f"--config.{name}.init_from=DIR, or put the stage after another in config.stages"
                )
        return self.dataset

    def stage(self, name: str, seeds: int) -> Stage:
        if (name, seeds) not in self._stages:
            mesh = mesh_lib.make_mesh(seeds=self.seeds_at_once)
            if self._loader is None:
                self._loader = data.make_loader(self._config.data.loader, self.dataset, mesh)
            self._stages[name, seeds] = Stage(self._config, name, self.dataset, self._loader, mesh, seeds)
        return self._stages[name, seeds]


def _train(lazy, config, names, folders, overrides) -> dict[int, dict]:
    """Result of every seed {seed: folder}; those without one train, ``seeds_at_once`` side by side where they can."""
    found = {}
    for seed, folder in folders.items():
        if (folder / "result.json").exists():
            logs.say(f"{folder} is finished already; its result:")
            found[seed] = workdirs.read_json(folder / "result.json")
            logs.say(results.format_table(found[seed]))
    pending = [seed for seed in folders if seed not in found]
    for start in range(0, len(pending), lazy.seeds_at_once):
        group = {seed: folders[seed] for seed in pending[start : start + lazy.seeds_at_once]}
        for name in names:
            _train_stage(lazy, name, group, stage_before(config, name))
        for seed, folder in group.items():
            done = {name: workdirs.read_json(done_file(folder, name)) for name in names}
            found[seed] = _result(lazy, config, seed, overrides, done)
            logs.write_json(folder / "result.json", found[seed])
            logs.say(results.format_table(found[seed]))
    return found


def _train_stage(lazy, name, group, before) -> None:
    left = {seed: folder for seed, folder in group.items() if not done_file(folder, name).exists()}
    for folder in left.values():
        folder.mkdir(parents=True, exist_ok=True)
    side_by_side = len(left) == lazy.seeds_at_once > 1
    if left and not (side_by_side and run_stage(lazy.stage(name, len(left)), left, before)):
        for seed, folder in left.items():
            run_stage(lazy.stage(name, 1), {seed: folder}, before)


def _evaluate_one(lazy, config, names, seed, folder, overrides) -> dict:
    done = {}
    for name in names:
        checkpoints, init_from = folder / name / "checkpoints", config[name].init_from
        if checkpoints.exists():
            variables, _, step = checkpoint.read_variables(checkpoints)
        elif init_from:
            variables, step = handover.load(init_from, stage_before(config, name)), 0  # what the stage would start from
        else:
            continue
        stage = lazy.stage(name, 1)
        found = stage.evaluate(stage.checked(variables), stage.stats())()
        done[name] = {
            "step": step,
            "epochs": step // stage.settings.steps_per_epoch,
            "final": {split: metrics.summarize(p, lazy.dataset.counts) for split, p in found.items()},
            "best": {},
        }
    if not done:
        raise UserError(f"--eval_only: {folder} holds no checkpoint of {', '.join(names)}; train first")
    result = _result(lazy, config, seed, overrides, done)
    folder.mkdir(parents=True, exist_ok=True)
    logs.write_json(folder / "eval.json", result)
    logs.say(results.format_table(result))
    return result


def _result(lazy, config, seed, overrides, done) -> dict:
    return {
        "config": config.to_dict(),
        "overrides": list(overrides),
        "seed": seed,
        **results.environment(),
        "data": lazy.dataset.describe(),
        "stages": done,
        "final": list(done.values())[-1]["final"],
    }
