"""The host loop of a stage: dispatch steps, and do what is due after each dispatch."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gcl_jax import logs
from gcl_jax.runtime import preemption
from gcl_jax.training.dispatches import Every, length
from gcl_jax.training.outputs import Moment, Output, Runs
from gcl_jax.training.pace import Pace
from gcl_jax.training.train_state import TrainState
from gcl_jax.training.train_step import StepInputs


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled step of a stage, and what feeds it.

    ``blocks(epoch, row, lengths)`` yields what each dispatch consumes, from ``row`` of the epoch on, and takes the next
    length when it is asked for the next block. A dispatch has ``steps_per_call`` steps at most.
    """

    name: str
    step: Callable[[TrainState, StepInputs, Any, np.int32], tuple[TrainState, dict]]
    inputs: StepInputs
    blocks: Callable[[int, int, Iterable[int]], Iterator[Any]]
    epochs: int
    steps_per_epoch: int
    steps_per_call: int

    @property
    def total(self) -> int:
        """Steps of the whole stage."""
        return self.epochs * self.steps_per_epoch


class Trainer:
    """Trains ``state`` from step ``first`` of a ``program``'s stage to its end.

    A dispatch has at most ``program.steps_per_call`` steps and lasts about `pace.SECONDS` at most, and at most one
    waits behind the one that runs. After each, the ``outputs`` are called for the ``runs``. Their order is pinned:
    update, log, evaluate, save. A checkpoint thus never stands for a step whose lines are not in metrics.jsonl yet, and
    a resumed run repeats nothing. Numbers are fetched after the next dispatch, so that the device never waits for the
    host. Where an output says to stop, which includes that the step is saved, `preemption.Stopped` is raised.
    """

    def __init__(self, program: Program, runs: Runs, outputs: Sequence[Output], state: TrainState, first: int = 0):
        self.program, self.runs, self.outputs = program, runs, outputs
        self.state, self.done = state, first
        self._due = [Every(program.steps_per_epoch), *(cut for output in outputs for cut in output.cuts)]
        self._pace, self._lengths, self._put_off = Pace(program.steps_per_call), [], []

    def fit(self) -> TrainState:
        """Train to the end of the stage; returns its last state."""
        program = self.program
        with logs.progress(program.name, self.done, program.total) as bar:

            def show(text: str) -> None:
                bar.set_postfix_str(text, refresh=False)

            while self.done < program.total:
                epoch, row = divmod(self.done, program.steps_per_epoch)
                for block in program.blocks(epoch, row, self._to_the_end_of(epoch)):
                    steps = self._lengths.pop()
                    self.state, metric_sums = program.step(self.state, program.inputs, block, np.int32(steps))
                    bar.update(self._pace.dispatched(steps, metric_sums))
                    last = self.done + steps == program.total
                    now = Moment(self.done + steps, last, self.state, metric_sums, self._put_off, show)
                    now.settle()  # what was put off before
                    self.done += steps
                    for output in self.outputs:
                        output(self.runs, now)
                    if now.stop:
                        raise preemption.Stopped(
                            f"{program.name}: stopped after step {self.done} of {program.total}, which is saved; the "
                            "same command goes on"
                        )
            bar.update(self._pace.wait())
        return self.state

    def _to_the_end_of(self, epoch: int) -> Iterator[int]:
        """The length of each dispatch from here on, decided when its block is asked for."""
        while self.done < (epoch + 1) * self.program.steps_per_epoch:
            self._lengths.append(length(self.done, self._due, most=self._pace.steps()))
            yield self._lengths[-1]
