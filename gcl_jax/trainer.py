"""Run one stage for one seed, or for several side by side: start or resume, train, finish."""

import contextlib
from collections.abc import Mapping

from etils import epath

from gcl_jax import logs
from gcl_jax.loop import train
from gcl_jax.seed_run import SeedRun
from gcl_jax.stage import Stage


def run_stage(stage: Stage, workdirs: Mapping[int, epath.Path], stage_before: str | None) -> bool:
    """Train ``stage`` to its end, or on from the newest checkpoints, for each seed in ``workdirs`` {seed: folder}.

    There are as many seeds as ``stage.seeds``. False, with nothing changed and a line that says so, if their
    checkpoints have no step in common: they then have to go on one by one.
    """
    with contextlib.ExitStack() as stack:
        runs = []
        for seed, folder in workdirs.items():
            runs.append(stack.enter_context(SeedRun(stage, seed, folder, stage_before)))
        saved = [set(run.saved_steps()) for run in runs]
        common = set.intersection(*saved)
        if max(map(max, filter(None, saved)), default=0) > stage.config.checkpoint.every_steps and not common:
            logs.say(
                f"{stage.name}: the seeds' checkpoints share no step; they go on one by one, equal but for rounding"
            )
            return False  # a kill between their first saves only costs the steps up to there, and they start anew
        first = max(common, default=None)
        for run in runs:
            run.resume(first)
        several = len(runs) > 1
        state = stage.stack([run.state for run in runs]) if several else runs[0].state
        constants = stage.stack([run.constants for run in runs]) if several else runs[0].constants

        def each(tree):
            return zip(runs, stage.unstack(tree), strict=True)

        def on_log(step, tally):
            rows = [{k: v[i] for k, v in tally.items()} for i in range(len(runs))] if several else [tally]
            return " ".join(run.log(step, row) for run, row in zip(runs, rows, strict=True))

        def on_eval(step, state):
            fetches = [run.evaluate(step, own) for run, own in each(state)]
            return lambda: [fetch() for fetch in fetches]

        def on_save(step, state):
            for run, own in each(state):
                run.save(step, own)

        if not stage.settings.epochs and first is None:  # a stage whose start is all of it
            on_eval(0, state)()
            on_save(0, state)
        state = train(
            state,
            stage=stage.name,
            first=first or 0,
            step=stage.compile() if stage.settings.epochs else None,
            constants=constants,
            blocks=lambda epoch, row, lengths: stage.blocks(list(workdirs), epoch, row, lengths),
            settings=stage.settings,
            steps_per_call=stage.steps_per_call,
            eval_every_epochs=stage.config.eval.every_epochs,
            save_every_steps=stage.config.checkpoint.every_steps,
            on_log=on_log,
            on_eval=on_eval,
            on_save=on_save,
        )
        for run, own in each(state):
            run.finish(stage.settings.epochs * stage.settings.steps_per_epoch, own)
    return True
