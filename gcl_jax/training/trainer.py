"""Run one stage for one seed, or for several side by side: start or resume, train, finish."""

import contextlib
import time
from collections.abc import Mapping

import jax
from etils import epath

from gcl_jax import logs
from gcl_jax.runtime import distributed, preemption
from gcl_jax.training.loop import train
from gcl_jax.training.stage import Stage
from gcl_jax.training.stage_run import RestartFromCheckpoint, StageRun


def run_stage(stage: Stage, workdirs: Mapping[int, epath.Path], stage_before: str | None) -> bool:
    """Train ``stage`` to its end, or on from the newest checkpoints, for each seed in ``workdirs`` {seed: folder}.

    There are as many seeds as ``stage.seeds``. False, with nothing changed and a line that says so, if their
    checkpoints have no step in common: they then have to go on one by one. A checkpoint that is damaged is set aside,
    and the one before it taken. Raises `preemption.Stopped` with the step saved where a stop is due.
    """
    while True:
        with contextlib.suppress(RestartFromCheckpoint):
            return _from_newest(stage, workdirs, stage_before)


def _from_newest(stage: Stage, workdirs: Mapping[int, epath.Path], stage_before: str | None) -> bool:
    with contextlib.ExitStack() as stack:
        runs = []
        for seed, folder in workdirs.items():
            runs.append(stack.enter_context(StageRun(stage, seed, folder, stage_before)))
        saved = [set(run.saved_steps()) for run in runs]
        common = set.intersection(*saved)
        if any(saved) and not common and not _killed_between_first_saves(stage, runs, saved):
            logs.log_info(
                f"{logs.named(stage.name)}: the seeds' checkpoints share no step; they go on one by one, equal but for "
                "rounding"
            )
            return False
        first = max(common, default=None)
        for run in runs:
            run.resume(first)
        several = len(runs) > 1
        state = stage.stack([run.state for run in runs]) if several else runs[0].state
        inputs = stage.stack([run.inputs for run in runs]) if several else runs[0].inputs

        def each(tree):
            return zip(runs, stage.unstack(tree), strict=True)

        def on_log(step, metric_sums):
            rows = (
                [jax.tree.map(lambda v, i=i: v[i], metric_sums) for i in range(len(runs))] if several else [metric_sums]
            )
            return " ".join(run.log(step, row) for run, row in zip(runs, rows, strict=True))

        def on_eval(step, state):
            fetches = [run.evaluate(step, own) for run, own in each(state)]
            return lambda: [fetch() for fetch in fetches]

        saved_at = [time.monotonic()]

        def save_now():
            minutes = stage.config.checkpoint.every_minutes
            return minutes > 0 and distributed.run_on_host0(lambda: time.monotonic() - saved_at[0] >= 60 * minutes)

        def on_save(step, state, pending_eval=False):
            for run, own in each(state):
                run.save(step, own, pending_eval)
            saved_at[0] = time.monotonic()

        done, skipped = [first or 0], sorted({step for run in runs for step in run.skipped})

        def step(state, inputs, block, n):
            done[0] += int(n)
            if done[0] in skipped:  # alone in its dispatch
                return stage.skip(state, inputs, block, [done[0] in run.skipped for run in runs])
            return compiled(state, inputs, block, n)

        if not stage.settings.epochs and first is None:  # a stage whose start is all of it
            on_eval(0, state)()
            on_save(0, state)
        for run, own in each(state):
            if run.pending_eval:
                run.evaluate(first, own)()
        compiled = stage.compile() if stage.settings.epochs else None
        with preemption.deferred():
            state = train(
                state,
                stage=logs.named(stage.name, None if several else runs[0].seed, alone=stage.config.num_seeds == 1),
                first=first or 0,
                step=step,
                inputs=inputs,
                blocks=lambda epoch, row, lengths: stage.feed.blocks(list(workdirs), epoch, row, lengths),
                settings=stage.settings,
                steps_per_call=stage.steps_per_call,
                eval_every_epochs=stage.config.eval.every_epochs,
                save_every_steps=stage.config.checkpoint.every_steps,
                on_log=on_log,
                on_eval=on_eval,
                on_save=on_save,
                save_now=save_now,
                alone=skipped,
            )
        for run, own in each(state):
            run.finish(stage.settings.epochs * stage.settings.steps_per_epoch, own)
    return True


def _killed_between_first_saves(stage, runs, saved) -> bool:
    """Whether starting anew loses nothing: some have the one first save of all seeds side by side, others nothing."""
    steps = set.union(*saved)
    return len(steps) == 1 and all(
        step <= stage.config.checkpoint.every_steps and run.side_by_side(step) in (len(runs), None)
        for run, own in zip(runs, saved, strict=True)
        for step in own
    )
