"""The seeds of a stage that train in one program: one stacked state, but a run folder for each."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from gcl_jax import logs
from gcl_jax.training.stage import Stage
from gcl_jax.training.stage_run import StageRun
from gcl_jax.training.train_state import TrainState
from gcl_jax.training.train_step import StepInputs
from gcl_jax.typing import PyTree


class SideBySide(contextlib.AbstractContextManager):
    """A run of ``stage`` for each seed in ``workdirs`` {seed: folder}, of which there are ``stage.seeds``.

    With one seed the program has no seed axis; with several, all but the data set's arrays have one.
    """

    def __init__(self, stage: Stage, workdirs: Mapping[int, epath.Path]):
        self._stage = stage
        self._runs: list[StageRun] = []
        self.first: int | None = None
        with contextlib.ExitStack() as stack:
            for seed, folder in workdirs.items():
                self._runs.append(stack.enter_context(StageRun(stage, seed, folder)))
            self._stack = stack.pop_all()

    def __exit__(self, *exception: Any) -> bool | None:
        return self._stack.__exit__(*exception)

    def resume(self) -> bool:
        """Go on from the newest checkpoint that all seeds have, or start; ``first`` becomes its step, or None.

        Returns False, and logs a line but changes nothing, if their checkpoints have no step in common.
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
        """The state of all seeds, at the step where they start or go on."""
        return self._stacked([run.state for run in self._runs])

    def inputs(self) -> StepInputs:
        """The step inputs of all seeds."""
        return self._stacked([run.inputs for run in self._runs])

    def _stacked(self, trees: Sequence[PyTree]) -> PyTree:
        return trees[0] if len(trees) == 1 else self._stage.stack(trees)

    def _each(self, state: TrainState) -> Iterator[tuple[StageRun, TrainState]]:
        return zip(self._runs, self._stage.unstack(state), strict=True)

    def _sums_of_each(self, metric_sums: dict) -> list[tuple[StageRun, dict]]:
        if len(self._runs) == 1:
            return [(self._runs[0], metric_sums)]
        return [(run, jax.tree.map(lambda v, i=i: v[i], metric_sums)) for i, run in enumerate(self._runs)]

    def check(self, step: int, metric_sums: dict) -> None:
        """`StageRun.check` of each."""
        for run, sums in self._sums_of_each(metric_sums):
            run.check(step, sums)

    def log(self, step: int, metric_sums: dict) -> str:
        """`StageRun.log` of each."""
        return " ".join(run.log(step, sums) for run, sums in self._sums_of_each(metric_sums))

    def evaluate(self, step: int, state: TrainState) -> Callable[[], object]:
        """`StageRun.evaluate` of each."""
        fetches = [run.evaluate(step, run_state) for run, run_state in self._each(state)]
        return lambda: [fetch() for fetch in fetches]

    def evaluate_pending(self, state: TrainState) -> None:
        """Do the evaluations that a stop cut off at the step from which the runs go on."""
        for run, run_state in self._each(state):
            if run.pending_eval:
                assert self.first is not None
                run.evaluate(self.first, run_state)()

    def save(self, step: int, state: TrainState, pending_eval: bool = False) -> None:
        """`StageRun.save` of each."""
        for run, run_state in self._each(state):
            run.save(step, run_state, pending_eval)

    def finish(self, state: TrainState) -> None:
        """`StageRun.finish` of each, after the last step."""
        settings = self._stage.settings
        for run, run_state in self._each(state):
            run.finish(settings.epochs * settings.steps_per_epoch, run_state)


def _killed_between_first_saves(every_steps: int, runs: Sequence[StageRun], saved: Sequence[set[int]]) -> bool:
    """Whether the seeds can start again: some have only the first save of all seeds side by side, the rest none."""
    steps = set.union(*saved)
    return len(steps) == 1 and all(
        step <= every_steps and run.side_by_side(step) in (len(runs), None)
        for run, run_steps in zip(runs, saved, strict=True)
        for step in run_steps
    )
