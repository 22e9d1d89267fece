"""The seeds of a stage that train in one program: as one state, and each as a run of its own."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import jax
from etils import epath

from gcl_jax import logs
from gcl_jax.training.stage import Stage
from gcl_jax.training.stage_run import StageRun
from gcl_jax.training.train_state import TrainState
from gcl_jax.training.train_step import StepInputs


class SideBySide(contextlib.AbstractContextManager):
    """A run of ``stage`` for each seed in ``workdirs`` {seed: folder}, of which there are as many as it has seeds.

    One seed is a program without a seed axis, several have one on all but the data set's arrays.
    """

    def __init__(self, stage: Stage, workdirs: Mapping[int, epath.Path]):
        self._stage, self._runs = stage, []
        self.first: int | None = None
        with contextlib.ExitStack() as stack:
            for seed, folder in workdirs.items():
                self._runs.append(stack.enter_context(StageRun(stage, seed, folder)))
            self._stack = stack.pop_all()

    def __exit__(self, *exception) -> bool | None:
        return self._stack.__exit__(*exception)

    def resume(self) -> bool:
        """Go on from the newest checkpoint that all have, or start; ``first`` is its step then, or None.

        False, with nothing changed and a line that says so, if their checkpoints have no step in common.
        """
        saved = [set(run.saved_steps()) for run in self._runs]
        common = set.intersection(*saved)
        every_steps = self._stage.config.checkpoint.every_steps
        if any(saved) and not common and not _killed_between_first_saves(every_steps, self._runs, saved):
            logs.log_info(
                f"{logs.named(self._stage.name)}: the seeds' checkpoints share no step; they go on one by one, equal "
                "but for rounding"
            )
            return False
        self.first = max(common, default=None)
        for run in self._runs:
            run.resume(self.first)
        return True

    def state(self) -> TrainState:
        """The state of all, where they start or go on."""
        return self._stacked([run.state for run in self._runs])

    def inputs(self) -> StepInputs:
        """The step inputs of all."""
        return self._stacked([run.inputs for run in self._runs])

    def _stacked(self, several):
        return several[0] if len(several) == 1 else self._stage.stack(several)

    def _each(self, state):
        return zip(self._runs, self._stage.unstack(state), strict=True)

    def _rows(self, metric_sums):
        if len(self._runs) == 1:
            return [(self._runs[0], metric_sums)]
        return [(run, jax.tree.map(lambda v, i=i: v[i], metric_sums)) for i, run in enumerate(self._runs)]

    def check(self, step: int, metric_sums: dict) -> None:
        """`StageRun.check` of each."""
        for run, own in self._rows(metric_sums):
            run.check(step, own)

    def log(self, step: int, metric_sums: dict) -> str:
        """`StageRun.log` of each."""
        return " ".join(run.log(step, own) for run, own in self._rows(metric_sums))

    def evaluate(self, step: int, state: TrainState) -> Callable[[], object]:
        """`StageRun.evaluate` of each."""
        fetches = [run.evaluate(step, own) for run, own in self._each(state)]
        return lambda: [fetch() for fetch in fetches]

    def evaluate_pending(self, state: TrainState) -> None:
        """Make up for the evaluations that were cut off at the step that is gone on from."""
        for run, own in self._each(state):
            if run.pending_eval:
                run.evaluate(self.first, own)()

    def save(self, step: int, state: TrainState, pending_eval: bool = False) -> None:
        """`StageRun.save` of each."""
        for run, own in self._each(state):
            run.save(step, own, pending_eval)

    def finish(self, state: TrainState) -> None:
        """`StageRun.finish` of each, after the last step."""
        settings = self._stage.settings
        for run, own in self._each(state):
            run.finish(settings.epochs * settings.steps_per_epoch, own)


def _killed_between_first_saves(every_steps: int, runs: Sequence[StageRun], saved: Sequence[set[int]]) -> bool:
    """Whether starting anew loses nothing: some have the one first save of all seeds side by side, others nothing."""
    steps = set.union(*saved)
    return len(steps) == 1 and all(
        step <= every_steps and run.side_by_side(step) in (len(runs), None)
        for run, own in zip(runs, saved, strict=True)
        for step in own
    )
