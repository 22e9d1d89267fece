"""The outputs of training: log lines, evaluations, checkpoints, an early end; each when it is due.

A `Trainer` calls its outputs after each dispatch, in their order. They may use the state at once; work that has to
fetch numbers is deferred with `Moment.defer` until the next dispatch is on its way, so that the device never waits.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

import jax

from gcl_jax.runtime import distributed, preemption
from gcl_jax.training.dispatches import Every
from gcl_jax.training.train_state import TrainState


class Runs(Protocol):
    """What the outputs write to: one seed's run of a stage, or several side by side as one (`SideBySide`)."""

    def check(self, step: int, metric_sums: dict) -> None:
        """Report numbers that are not finite; UserError if the run has to end."""

    def log(self, step: int, metric_sums: dict) -> str:
        """Write the training line; returns a text for the progress bar."""

    def evaluate(self, step: int, state: TrainState) -> Callable[[], object]:
        """Dispatch an evaluation; calling the result fetches and writes it."""

    def save(self, step: int, state: TrainState, pending_eval: bool) -> None:
        """Save a checkpoint."""


@dataclasses.dataclass
class Moment:
    """The state of a stage after a dispatch, and what its outputs have decided so far.

    ``last`` marks the end of the stage. ``metric_sums`` are on the device. ``deferred`` is work for later (`defer`).
    ``show`` puts a text on the progress bar. ``stop`` says that training ends here, ``pending_eval`` that an evaluation
    which was due has been cut off.
    """

    step: int
    last: bool
    state: TrainState
    metric_sums: Any
    deferred: list[Callable[[], object]]
    show: Callable[[str], None]
    stop: bool = False
    pending_eval: bool = False

    def defer(self, work: Callable[[], object]) -> None:
        """Do ``work`` once the next dispatch is on its way, or before a checkpoint is saved."""
        self.deferred.append(work)

    def run_deferred(self) -> None:
        """Do all deferred work, in order."""
        while self.deferred:
            self.deferred.pop(0)()

    @functools.cached_property
    def fetched(self) -> Any:
        """``metric_sums`` on the host; waits for the step, so use it in deferred work."""
        return jax.device_get(self.metric_sums)


class Output:
    """Called after each dispatch. No dispatch runs past a step at which one of ``cuts`` is due."""

    cuts: Collection[Every] = ()

    def __call__(self, runs: Runs, moment: Moment) -> None:
        """Act, if the output is due at this moment."""
        raise NotImplementedError


class NonFinite(Output):
    """Reports steps that were not finite, where a log line is due; before `Log`, which cannot write such a line."""

    def __init__(self, every: Every):
        self.every, self.cuts = every, (every,)

    def __call__(self, runs: Runs, moment: Moment) -> None:
        """See `Output`."""
        if self.every.due(moment.step):
            moment.defer(lambda: runs.check(moment.step, moment.fetched))


class Log(Output):
    """Writes the training line."""

    def __init__(self, every: Every):
        self.every, self.cuts = every, (every,)

    def __call__(self, runs: Runs, moment: Moment) -> None:
        """See `Output`."""
        if self.every.due(moment.step):
            moment.defer(lambda: moment.show(runs.log(moment.step, moment.fetched)))


class Evaluate(Output):
    """Evaluates the network, at the end of the stage in any case."""

    def __init__(self, every: Every):
        self.every, self.cuts = every, (every,)

    def __call__(self, runs: Runs, moment: Moment) -> None:
        """See `Output`; where a stop cuts it off, ``pending_eval`` is set."""
        if moment.last or self.every.due(moment.step):
            try:
                moment.defer(runs.evaluate(moment.step, moment.state))
            except preemption.Stopped:
                moment.pending_eval = moment.stop = True


class Stop(Output):
    """Ends training where `preemption` says so."""

    def __call__(self, runs: Runs, moment: Moment) -> None:
        """See `Output`; every process has to call it equally often."""
        moment.stop = moment.stop or preemption.should_stop()


class Save(Output):
    """Saves a checkpoint: each ``every``, at the end of the stage, where training stops, and by the clock.

    By the clock: where ``check_clock`` is due, if more than ``minutes`` (0 = never) have passed since the last one.
    """

    def __init__(self, every: Every, minutes: float, check_clock: Every):
        self.every, self.cuts = every, (every,)
        self._minutes, self._check_clock, self._saved_at = minutes, check_clock, time.monotonic()

    def __call__(self, runs: Runs, moment: Moment) -> None:
        """See `Output`."""
        late = self._check_clock.due(moment.step) and self._is_late()
        if late or moment.last or moment.stop or self.every.due(moment.step):
            moment.run_deferred()  # a checkpoint never stands for a step whose lines are not written yet
            runs.save(moment.step, moment.state, moment.pending_eval)
            self._saved_at = time.monotonic()

    def _is_late(self) -> bool:
        if self._minutes <= 0:
            return False
        return distributed.run_on_host0(lambda: time.monotonic() - self._saved_at >= 60 * self._minutes)
