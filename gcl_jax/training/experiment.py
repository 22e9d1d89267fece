"""A run: the stages in order, for every seed, and result.json."""

import contextlib
import functools
from collections.abc import Mapping, Sequence

import jax
from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import logs, metrics
from gcl_jax.checkpoints import warm_start
from gcl_jax.config import stage_fingerprint, validation
from gcl_jax.data import Dataset
from gcl_jax.errors import UserError
from gcl_jax.runtime import backend, distributed, preemption
from gcl_jax.training import final_logits, starts, tuning
from gcl_jax.training.run_context import RunContext
from gcl_jax.training.run_stage import run_stage
from gcl_jax.training.stage_run import best_epochs
from gcl_jax.workdir import results
from gcl_jax.workdir.run_dir import RunDir
from gcl_jax.workdir.seed_dir import SeedDir


def run(
    config: ConfigDict,
    workdir: str,
    *,
    overrides: Sequence[str] = (),
    eval_only: bool = False,
    folder_per_seed: bool = False,
) -> dict:
    """Train every stage of ``config`` in ``workdir`` (or go on where it stands) and return result.json.

    With ``num_seeds`` > 1, or ``folder_per_seed``, each seed has a folder of its own, equal to the run of that seed
    alone, and the result holds all of them with mean and standard deviation. A finished run returns its
    result at once. ``eval_only`` evaluates what is there with today's eval and posthoc keys and
    writes eval.json instead.

    Raises UserError for a bad config, bad data, or a workdir of another run, or in use by one; `preemption.Stopped`
    where a command was told to stop.
    """
    command = config.to_dict() | {"eval_only": eval_only, "versions": results.versions(), "code": results.code()}
    distributed.assert_equal(
        "the command", command, lambda here, first: "; ".join(stage_fingerprint.differences(first, here))
    )
    distributed.all_or_raise(lambda: validation.validate(config))
    run_dir = RunDir.open(workdir, config, folder_per_seed=folder_per_seed)
    finished = run_dir.is_finished()
    # What is only looked at may lie where nothing can be written.
    with contextlib.nullcontext() if eval_only or finished else run_dir.locked():
        if config.tuning.key:
            run_dir = run_dir.of(_tuned(run_dir, training=not (eval_only or finished), eval_only=eval_only))
        with backend.matmul_precision(config.precision), jax.debug_nans(config.debug_nans):
            experiment = _Experiment(run_dir, overrides)
            return experiment.evaluate() if eval_only else experiment.train(finished=finished)


def _tuned(run_dir: RunDir, *, training: bool, eval_only: bool) -> ConfigDict:
    """The config with the value of the tuned key: that of the run in the folder, or what is chosen now."""
    config = run_dir.config
    run_dir.check_before_tuning()
    if not eval_only:
        run_dir.check_rules()
    if not training:
        return tuning.with_value(config, run_dir.tuned_value())
    folder = run_dir.path / "tuning"
    held_out_folder = folder / f"held_out_{config.tuning.validation_fraction:g}"
    return tuning.settled(
        config, folder, functools.partial(_train_held_out, folder=held_out_folder, seeds=run_dir.seeds)
    )


def _train_held_out(config: ConfigDict, folder: epath.Path, seeds: Mapping[int, SeedDir]) -> dict[int, str]:
    """Train `tuning.held_out`'s ``config`` in ``folder``; returns the folder of each seed."""
    config.posthoc.update(config_lib.TOP["posthoc"])  # they are for the choice, not for what is trained here
    run(config, str(folder), folder_per_seed=True)
    return {seed: str(folder / f"seed_{seed}") for seed in seeds}


class _Experiment:
    """The run in ``run_dir``, whose config has all its values; ``overrides`` are the command's, for result.json."""

    def __init__(self, run_dir: RunDir, overrides: Sequence[str]):
        self._dir, self._config, self._names = run_dir, run_dir.config, run_dir.stages
        self._overrides = overrides
        self._parts = RunContext(self._config)

    def train(self, *, finished: bool) -> dict:
        """Train what is left, or show the result of a ``finished`` run."""
        first = self._names[0]
        new = [] if finished else [s for s, seed in self._dir.seeds.items() if not seed.stage(first).is_done()]
        looked = self._look(new)
        # A finished run only shows its result: what else is wrong with its stages today does not matter.
        dataset = self._dataset if finished else lambda: self._parts.build(self._names, looked)
        self._dir.claim(dataset, self._check_starts, finished=finished)
        seed_results = self._train_all()
        return self._dir.written_again(seed_results) if finished else self._dir.write_result(seed_results)

    def evaluate(self) -> dict:
        """Evaluate what is there, with today's eval and posthoc keys."""
        first = self._names[0]
        self._look([s for s, seed in self._dir.seeds.items() if not seed.stage(first).is_saved()])
        self._dir.verify(self._dataset, self._check_starts)
        as_trained = self._dir.has_same_rules()
        return self._dir.write_evaluation(
            {seed: self._evaluate_seed(seed, folder, as_trained) for seed, folder in self._dir.seeds.items()}
        )

    def _dataset(self) -> Dataset:
        return self._parts.dataset

    def _look(self, seeds: Sequence[int]) -> dict[str, dict]:
        # Before the data are read, and for what has to be read from there only: else it may be gone by now.
        if seeds:
            distributed.all_or_raise(lambda: starts.check_labels(self._config, self._names))
        return starts.load_starts(self._config, self._names[0], seeds)

    def _check_starts(self) -> None:
        """Raise UserError if a stage that is done started from something else than its init_from holds today."""
        name = self._names[0]  # others start from the stage before, under any config that can have this folder
        done = {seed: stage for seed, folder in self._dir.seeds.items() if (stage := folder.stage(name)).is_done()}
        if done:
            distributed.all_or_raise(self._dataset)
        for seed, folder in done.items():
            started_from = folder.done({"started_from": str})["started_from"]
            start, digests = starts.start_of(self._config, name, seed), ("random",)
            if start.origin:
                digests = self._parts.stage(name, 1).restore_variables(seed, start.load(), start.origin)[1]
            message = f"{folder.path} started from something else than what is asked ({start.origin or 'no init_from'})"
            distributed.all_or_raise(lambda same=started_from in digests, message=message: _require_same(same, message))

    def _train_all(self) -> dict[int, dict]:
        """Result of every seed; those without one train, ``seeds_at_once`` side by side where they can."""
        seed_results, at_once = {}, self._parts.seeds_at_once
        for seed, folder in self._dir.seeds.items():
            if folder.is_finished():
                logs.log_info(f"{folder.path} is finished already; its result:")
                seed_results[seed] = folder.result()
                logs.log_info(results.format_table(seed_results[seed]))
        pending = {seed: folder for seed, folder in self._dir.seeds.items() if seed not in seed_results}
        self._compile(pending)
        for start in range(0, len(pending), at_once):
            group = dict(list(pending.items())[start : start + at_once])
            for name in self._names:
                preemption.check()
                self._train_stage(name, group)
            for seed, folder in group.items():
                done = {name: folder.stage(name).done(results.DONE) for name in self._names}
                seed_results[seed] = self._result(seed, done)
                folder.write_result(seed_results[seed])
                logs.log_info(results.format_table(seed_results[seed]))
        return seed_results

    def _compile(self, pending: Mapping[int, SeedDir]) -> None:
        """All stages, before the first trains: what does not fit the memory is known at once."""
        at_once = self._parts.seeds_at_once
        for name in self._names:
            if self._config[name].epochs and not all(folder.stage(name).is_done() for folder in pending.values()):
                self._parts.stage(name, at_once if len(pending) >= at_once else 1).compile()

    def _train_stage(self, name: str, group: Mapping[int, SeedDir]) -> None:
        left = {seed: folder.path for seed, folder in group.items() if not folder.stage(name).is_done()}
        for seed in left:
            group[seed].make()
        side_by_side = len(left) == self._parts.seeds_at_once > 1
        if left and not (side_by_side and run_stage(self._parts.stage(name, len(left)), left)):
            for seed, path in left.items():
                run_stage(self._parts.stage(name, 1), {seed: path})

    def _evaluate_seed(self, seed: int, folder: SeedDir, as_trained: bool) -> dict:
        done = {
            name: evaluated
            for name in self._names
            if (evaluated := self._evaluate_stage(name, seed, folder, as_trained))
        }
        if not done:
            raise UserError(f"--eval_only: {folder.path} holds no checkpoint of {', '.join(self._names)}; train first")
        result = self._result(seed, done)
        folder.write_evaluation(result)
        logs.log_info(results.format_table(result))
        return result

    def _evaluate_stage(self, name: str, seed: int, folder: SeedDir, as_trained: bool) -> dict | None:
        stage, stage_dir = self._parts.stage(name, 1), folder.stage(name)
        if stage_dir.is_saved():
            variables, step = distributed.all_or_raise(lambda: warm_start.read(stage_dir.checkpoints))
            distributed.assert_equal(f"the checkpoint of {name}", warm_start.digest(warm_start.arrays(variables)))
            variables = stage.checked(variables, str(stage_dir.path))
        elif (
            start := starts.start_of(self._config, name, seed)
        ).origin:  # the start itself, or what the stage makes of it where it has no epochs
            loaded = start.load()
            distributed.assert_equal(f"what {name} starts from", warm_start.digest(warm_start.arrays(loaded)))
            made = None if stage.settings.epochs else stage.start(seed, loaded, start.origin)
            variables, step = stage.variables(made[0]) if made else stage.checked(loaded, start.origin), 0
        else:
            return None
        info = stage.info()
        predictions = stage.evaluate(variables, info)()
        title = logs.named(name, seed, alone=self._config.num_seeds == 1)
        final = stage_dir.is_saved() and stage_dir.is_done() and as_trained
        final = final and stage_dir.done(results.DONE).get("steps", step) == step  # the last checkpoint may be lost
        more = final_logits.measure_again(stage, variables, info, stage_dir.path, title, final=final)
        # What training saw so far, unless the rules after training are others now.
        seen = folder.records(name) if as_trained else []
        return {
            "step": step,
            "epochs": step // stage.settings.steps_per_epoch,
            "final": {
                split: metrics.summarize(of_split, self._parts.dataset.counts) | more.get(split, {})
                for split, of_split in predictions.items()
            },
            "best": best_epochs([record for record in seen if record["step"] <= step]),
        }

    def _result(self, seed: int, done: Mapping[str, dict]) -> dict:
        return {
            "config": self._config.to_dict(),
            "overrides": list(self._overrides),
            "seed": seed,
            **results.environment(),
            "data": self._parts.dataset.describe(),
            "stages": done,
            "final": list(done.values())[-1]["final"],
        }


def _require_same(same: bool, message: str) -> None:
    if not same:
        raise UserError(f"{message}: choose another --workdir, or give the init_from it was started with")
