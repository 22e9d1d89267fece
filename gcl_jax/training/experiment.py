"""A run: the stages in order, for every seed, and result.json."""

import contextlib
from collections.abc import Iterable, Sequence

import jax
from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import json_files, logs, metrics, paths
from gcl_jax.checkpoints import checkpoint, warm_start
from gcl_jax.config import stage_fingerprint, validation
from gcl_jax.errors import UserError, writing
from gcl_jax.paths import done_file
from gcl_jax.runtime import backend, distributed, preemption
from gcl_jax.training import final_logits, starts, tuning
from gcl_jax.training.run_context import RunContext
from gcl_jax.training.stage_run import best_epochs
from gcl_jax.training.trainer import run_stage
from gcl_jax.workdir import lock, results
from gcl_jax.workdir import ownership as workdirs


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
    asked = config.to_dict() | {"eval_only": eval_only, "versions": results.versions(), "code": results.code()}
    distributed.assert_equal(
        "the command", asked, lambda own, first: "; ".join(stage_fingerprint.differences(first, own))
    )
    distributed.all_or_raise(lambda: validation.validate(config))
    root = distributed.all_or_raise(lambda: checkpoint.storable(workdir))
    distributed.run_on_host0(lambda: workdirs.require_no_stage(root))
    per_seed = folder_per_seed or config.num_seeds > 1
    folders = {s: root / f"seed_{s}" if per_seed else root for s in config_lib.seeds(config)}
    distributed.run_on_host0(lambda: workdirs.require_readable([root, *folders.values()], config.stages))
    files = [folder / "result.json" for folder in folders.values()]
    whole = root / "result.json" if per_seed else None
    finished = distributed.run_on_host0(
        lambda: all(file.exists() for file in files) and (not whole or _holds(whole, folders))
    )
    with contextlib.ExitStack() as stack:
        if not (eval_only or finished):  # what is only looked at may lie where nothing can be written
            distributed.run_on_host0(lambda: _lock(stack, root, folders))
        return _run(config, root, folders, per_seed, overrides, eval_only, finished)


def _lock(stack: contextlib.ExitStack, root: epath.Path, folders: dict[int, epath.Path]) -> None:
    # The root first: a folder that was made and stays empty is removed by its own lock, the innermost before.
    for folder in dict.fromkeys([root, *folders.values()]):
        stack.enter_context(lock.held(folder))


def _run(config, root, folders, per_seed, overrides, eval_only, finished) -> dict:
    if config.tuning.key:
        workdirs.check_before_tuning(root, config, config_lib.stages_to_run(config), per_seed)
        if not eval_only:
            distributed.run_on_host0(lambda: workdirs.compare_rules(root, config))
    if config.tuning.key and (eval_only or finished):
        value = distributed.run_on_host0(lambda: workdirs.tuned_value(root, config))
        config = tuning.with_value(config, value)
    elif config.tuning.key:
        folder = root / "tuning"

        def before(held_out: ConfigDict) -> dict[int, str]:
            own = folder / f"held_out_{config.tuning.validation_fraction:g}"
            held_out.posthoc.update(config_lib.TOP["posthoc"])  # they are for the choice, not for what is trained here
            run(held_out, str(own), folder_per_seed=True)
            return {s: str(own / f"seed_{s}") for s in folders}

        config = tuning.settled(config, folder, before)
    names = config_lib.stages_to_run(config)
    with backend.matmul_precision(config.precision), jax.debug_nans(config.debug_nans):
        parts = RunContext(config)
        # Before the data are read, and for what has to be read from there only: else it may be gone by now.
        there = _is_saved if eval_only else _is_done
        new = [] if finished and not eval_only else [s for s, f in folders.items() if not there(f, names[0])]
        if new:
            distributed.all_or_raise(lambda: starts.check_labels(config, names))
        looked = starts.look(config, names[0], new)

        def check_starts():
            _check_starts(parts, config, names, folders)

        if eval_only:
            workdirs.verify(root, config, names, per_seed, lambda: parts.dataset, check_starts)
        else:
            # A finished run only shows its result: what else is wrong with its stages today does not matter.
            dataset = (lambda: parts.dataset) if finished else lambda: parts.build(names, looked)
            workdirs.open_for_writing(root, config, names, per_seed, dataset, check_starts, finished=finished)
        if eval_only:
            as_trained = distributed.run_on_host0(lambda: workdirs.same_rules(root, config))
            message = (overrides, as_trained)
            found = {s: _evaluate_one(parts, config, names, s, folder, *message) for s, folder in folders.items()}
        else:
            found = _train(parts, config, names, folders, overrides)
    if not per_seed:
        return found[config.seed]
    if finished and not eval_only:
        return _only(distributed.run_on_host0(lambda: _write_again(root)), folders)
    return distributed.run_on_host0(lambda: _write_all_seeds(root, found, eval_only))


def _check_starts(parts, config, names, folders) -> None:
    """Raise UserError if a stage that is done started from something else than its init_from holds today."""
    name = names[0]  # others start from the stage before, under any config that can have this folder
    done = {seed: folder for seed, folder in folders.items() if _is_done(folder, name)}
    if done:
        distributed.all_or_raise(lambda: parts.dataset)
    for seed, folder in done.items():
        found = distributed.run_on_host0(
            lambda f=folder: json_files.read(done_file(f, name), shape={"started_from": str})
        )
        start, own = "no init_from", ("random",)
        if config[name].init_from:
            start, variables = starts.read(config, name, seed)
            own = parts.stage(name, 1).restore_variables(seed, variables, start)[1]
        message = f"{folder / name} started from something else than what is asked ({start})"
        distributed.all_or_raise(
            lambda same=found["started_from"] in own, message=message: _require_same(same, message)
        )


def _require_same(same: bool, message: str) -> None:
    if not same:
        raise UserError(f"{message}: choose another --workdir, or give the init_from it was started with")


def _write_again(root: epath.Path) -> dict:
    """The result of several seeds that are all finished, made new if it can be: launch scripts go by its time."""
    found = json_files.read(root / "result.json", shape=results.SEEDS)
    with contextlib.suppress(UserError), lock.held(root):
        json_files.write(root / "result.json", found)
    return found


def _holds(file: epath.Path, folders: dict[int, epath.Path]) -> bool:
    """Whether the result of several seeds has all of these."""
    return file.exists() and json_files.read(file, shape=results.SEEDS)["seeds"].keys() >= {
        f.name for f in folders.values()
    }


def _write_all_seeds(root: epath.Path, found: dict[int, dict], eval_only: bool) -> dict:
    """Write the result of all seeds in ``root``, of an earlier run with more of them, too; return that of ``found``."""
    others = {f.parent.name: f for f in paths.matching(root, "seed_*/result.json")} if not eval_only else {}
    each = {f"seed_{s}": result for s, result in found.items()}
    each |= {
        name: json_files.read(file, shape=results.RESULT) for name, file in sorted(others.items()) if name not in each
    }
    whole = {"across_seeds": results.across_seeds(each), "seeds": each}
    json_files.write(root / ("eval.json" if eval_only else "result.json"), whole)
    return _only(whole, found)


def _only(whole: dict, seeds: Iterable[int]) -> dict:
    """The result ``whole`` of several seeds for those that are asked for, which are among them."""
    asked = {name: whole["seeds"][name] for name in (f"seed_{seed}" for seed in seeds)}
    if len(asked) == len(whole["seeds"]):
        return whole
    others = sorted(whole["seeds"].keys() - asked.keys())
    logs.log_info(f"note: the folder holds {', '.join(others)}, too, which the mean here leaves out")
    return {"across_seeds": results.across_seeds(asked), "seeds": asked}


def _train(parts, config, names, folders, overrides) -> dict[int, dict]:
    """Result of every seed {seed: folder}; those without one train, ``seeds_at_once`` side by side where they can."""
    found = {}
    for seed, folder in folders.items():
        if distributed.run_on_host0((folder / "result.json").exists):
            logs.log_info(f"{folder} is finished already; its result:")
            found[seed] = distributed.run_on_host0(
                lambda folder=folder: json_files.read(folder / "result.json", shape=results.RESULT)
            )
            logs.log_info(results.format_table(found[seed]))
    pending = [seed for seed in folders if seed not in found]
    for name in names:  # all of them before the first trains: what does not fit the memory is known at once
        if config[name].epochs and not all(_is_done(folders[seed], name) for seed in pending):
            parts.stage(name, parts.seeds_at_once if len(pending) >= parts.seeds_at_once else 1).compile()
    for start in range(0, len(pending), parts.seeds_at_once):
        group = {seed: folders[seed] for seed in pending[start : start + parts.seeds_at_once]}
        for name in names:
            preemption.check()
            _train_stage(parts, name, group, starts.stage_before(config, name))
        for seed, folder in group.items():

            def write(seed=seed, folder=folder):
                done = {name: json_files.read(done_file(folder, name), shape=results.DONE) for name in names}
                result = _result(parts, config, seed, overrides, done)
                json_files.write(folder / "result.json", result)
                return result

            found[seed] = distributed.run_on_host0(write)
            logs.log_info(results.format_table(found[seed]))
    return found


def _train_stage(parts, name, group, before) -> None:
    left = {seed: folder for seed, folder in group.items() if not _is_done(folder, name)}
    for folder in left.values():
        distributed.run_on_host0(lambda folder=folder: _make(folder))
    side_by_side = len(left) == parts.seeds_at_once > 1
    if left and not (side_by_side and run_stage(parts.stage(name, len(left)), left, before)):
        for seed, folder in left.items():
            run_stage(parts.stage(name, 1), {seed: folder}, before)


def _make(folder: epath.Path) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _is_done(folder: epath.Path, stage: str) -> bool:
    return distributed.run_on_host0(done_file(folder, stage).exists)


def _is_saved(folder: epath.Path, stage: str) -> bool:
    found = distributed.run_on_host0(
        lambda: [path.name for path in paths.matching(folder / stage / "checkpoints", "[0-9]*")]
    )
    return any(name.isdecimal() for name in found)


def _evaluate_one(parts, config, names, seed, folder, overrides, as_trained) -> dict:
    done, log = {}, logs.MetricsLog(folder / "metrics.jsonl")
    for name in names:
        checkpoints, stage, ended = folder / name / "checkpoints", parts.stage(name, 1), False
        if _is_saved(folder, name):
            ended = _is_done(folder, name)
            variables, step = distributed.all_or_raise(lambda c=checkpoints: warm_start.read(c))
            distributed.assert_equal(f"the checkpoint of {name}", warm_start.digest(warm_start.arrays(variables)))
            variables = stage.checked(variables, str(folder / name))
        elif config[name].init_from:  # the start itself, or what the stage makes of it where it has no epochs
            start, found = starts.read(config, name, seed)
            distributed.assert_equal(f"what {name} starts from", warm_start.digest(warm_start.arrays(found)))
            made = None if config[name].epochs else stage.start(seed, found, start)
            variables, step = stage.variables(made[0]) if made else stage.checked(found, start), 0
        else:
            continue
        info = stage.info()
        found = stage.evaluate(variables, info)()
        own_name = logs.named(name, seed, alone=config.num_seeds == 1)
        final = ended and as_trained
        more = final_logits.measure_again(stage, variables, info, folder / name, own_name, final=final)
        # What training saw so far, unless the rules after training are others now.
        seen = distributed.run_on_host0(lambda: log.read(name)) if as_trained else []  # noqa: B023
        done[name] = {
            "step": step,
            "epochs": step // stage.settings.steps_per_epoch,
            "final": {
                split: metrics.summarize(p, parts.dataset.counts) | more.get(split, {}) for split, p in found.items()
            },
            "best": best_epochs([record for record in seen if record["step"] <= step]),
        }
    if not done:
        raise UserError(f"--eval_only: {folder} holds no checkpoint of {', '.join(names)}; train first")
    result = _result(parts, config, seed, overrides, done)

    def write():
        _make(folder)
        json_files.write(folder / "eval.json", result)

    distributed.run_on_host0(write)
    logs.log_info(results.format_table(result))
    return result


def _result(parts, config, seed, overrides, done) -> dict:
    return {
        "config": config.to_dict(),
        "overrides": list(overrides),
        "seed": seed,
        **results.environment(),
        "data": parts.dataset.describe(),
        "stages": done,
        "final": list(done.values())[-1]["final"],
    }
