"""Run one stage for one seed, or for several side by side: start or resume, train, finish."""

import contextlib
from collections.abc import Mapping

from etils import epath

from gcl_jax import logs
from gcl_jax.runtime import preemption
from gcl_jax.training.dispatches import Every
from gcl_jax.training.outputs import Evaluate, Log, NonFinite, Output, Save, Stop
from gcl_jax.training.side_by_side import SideBySide
from gcl_jax.training.stage import Stage
from gcl_jax.training.stage_run import RestartFromCheckpoint
from gcl_jax.training.trainer import Program, Trainer


def run_stage(stage: Stage, workdirs: Mapping[int, epath.Path]) -> bool:
    """Train ``stage`` to its end, or on from the newest checkpoints, for each seed in ``workdirs`` {seed: folder}.

    There are ``stage.seeds`` seeds. Returns False, and logs a line but changes nothing, if their checkpoints have no
    step in common: they then have to go on one by one. A damaged checkpoint is put in quarantine, and the one before
    it used. Raises `preemption.Stopped` with the step saved where a stop is due.
    """
    while True:
        with contextlib.suppress(RestartFromCheckpoint), SideBySide(stage, workdirs) as runs:
            if not runs.resume():
                return False
            state = runs.state()
            if not stage.settings.epochs and runs.first is None:  # its initialization is the whole stage
                runs.evaluate(0, state)()
                runs.save(0, state)
            runs.evaluate_pending(state)
            trainer = Trainer(_program(stage, runs, list(workdirs)), runs, _outputs(stage), state, runs.first or 0)
            with preemption.deferred():
                state = trainer.fit()
            runs.finish(state)
            return True


def _program(stage: Stage, runs: SideBySide, seeds: list[int]) -> Program:
    seed = seeds[0] if len(seeds) == 1 else None
    return Program(
        name=logs.named(stage.name, seed, alone=stage.config.num_seeds == 1),
        step=stage.compile() if stage.settings.epochs else None,
        inputs=runs.inputs(),
        blocks=lambda epoch, row, lengths: stage.input_pipeline.blocks(seeds, epoch, row, lengths),
        epochs=stage.settings.epochs,
        steps_per_epoch=stage.settings.steps_per_epoch,
        steps_per_call=stage.steps_per_call,
    )


def _outputs(stage: Stage) -> list[Output]:
    config, per_epoch = stage.config, stage.settings.steps_per_epoch
    line = Every(stage.settings.log_every, per_epoch)
    return [
        NonFinite(line),
        Log(line),
        Evaluate(Every(config.eval.every_epochs * per_epoch)),
        Stop(),
        Save(Every(config.checkpoint.every_steps), config.checkpoint.every_minutes, check_clock=line),
    ]
