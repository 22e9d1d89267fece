"""The host loop of a stage: dispatch steps, and call the outputs after each dispatch."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from gcl_jax import logs
from gcl_jax.runtime import preemption
from gcl_jax.training.dispatches import Every, length
from gcl_jax.training.outputs import Moment, Output, Runs
from gcl_jax.training.pace import Pace
from gcl_jax.training.train_state import TrainState
from gcl_jax.training.train_step import StepInputs
from gcl_jax.typing import PyTree


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled step of a stage, and its input.

    ``blocks(epoch, row, lengths)`` yields the block of each dispatch, from ``row`` of the epoch on; it draws the next
    length only when the next block is requested. A dispatch has at most ``steps_per_call`` steps.
    """

    name: str
    step: Callable[[TrainState, StepInputs, PyTree, np.int32], tuple[TrainState, dict]] | None  # None of 0 epochs
    inputs: StepInputs
    blocks: Callable[[int, int, Iterable[int]], Iterator[PyTree]]
    epochs: int
    steps_per_epoch: int
    steps_per_call: int

    @property
    def total(self) -> int:
        """Steps of the whole stage."""
        return self.epochs * self.steps_per_epoch


class Trainer:
    """Trains ``state`` from step ``first`` of a ``program``'s stage to its end.

    A dispatch has at most ``program.steps_per_call`` steps and lasts about `pace.SECONDS` at most, and at most one is
    queued behind the one that runs. After each, the ``outputs`` are called for the ``runs``, in a fixed order: update,
    log, evaluate, save. A checkpoint is thus never saved before the lines of its step are in metrics.jsonl, and a
    resumed run writes no line twice. Numbers are fetched after the next dispatch, so that the device never waits for
    the host. Where an output asks to stop, by then with the step saved, `preemption.Stopped` is raised.
    """

    def __init__(self, program: Program, runs: Runs, outputs: Sequence[Output], state: TrainState, first: int = 0):
        self.program, self.runs, self.outputs = program, runs, outputs
        self.state, self.done = state, first
        self._cuts = [Every(program.steps_per_epoch), *(cut for output in outputs for cut in output.cuts)]
        self._pace = Pace(program.steps_per_call)
        self._lengths: list[int] = []
        self._deferred: list[Callable[[], object]] = []

    def fit(self) -> TrainState:
        """Train to the end of the stage; returns its last state."""
        program = self.program
        with logs.progress(program.name, self.done, program.total) as bar:

            def show(text: str) -> None:
                bar.set_postfix_str(text, refresh=False)

            while self.done < program.total:
                assert program.step is not None
                epoch, row = divmod(self.done, program.steps_per_epoch)
                for block in program.blocks(epoch, row, self._lengths_to_end_of(epoch)):
                    steps = self._lengths.pop()
                    self.state, metric_sums = program.step(self.state, program.inputs, block, np.int32(steps))
                    bar.update(self._pace.dispatched(steps, metric_sums))
                    last = self.done + steps == program.total
                    moment = Moment(self.done + steps, last, self.state, metric_sums, self._deferred, show)
                    moment.run_deferred()  # work of the dispatch before
                    self.done += steps
                    for output in self.outputs:
                        output(self.runs, moment)
                    if moment.stop:
                        raise preemption.Stopped(
                            f"{program.name}: stopped after step {self.done} of {program.total}, which is saved; the "
                            "same command goes on"
                        )
            bar.update(self._pace.wait())
        return self.state

    def _lengths_to_end_of(self, epoch: int) -> Iterator[int]:
        """The length of each dispatch to the end of ``epoch``, decided when its block is requested."""
        while self.done < (epoch + 1) * self.program.steps_per_epoch:
            self._lengths.append(length(self.done, self._cuts, max_steps=self._pace.steps()))
            yield self._lengths[-1]
