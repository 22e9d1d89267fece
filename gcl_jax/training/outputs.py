"""What training puts out while it goes on: lines, evaluations, checkpoints, an early end; each when it is due.

A `Trainer` calls its outputs after each dispatch, in their order. They may look at the state at once; what needs
numbers of it is put off with `Moment.later`, until the next dispatch is on its way, so that the device never waits.
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
        """Write the training line; returns what the progress bar shows of it."""

    def evaluate(self, step: int, state: TrainState) -> Callable[[], object]:
        """Dispatch an evaluation; what is returned fetches and writes it."""

    def save(self, step: int, state: TrainState, pending_eval: bool) -> None:
        """Save a checkpoint."""


@dataclasses.dataclass
class Moment:
    """Where a stage stands after a dispatch, and what its outputs have decided about it so far.

    ``metric_sums`` are on the device. ``stop`` says that training ends here, ``pending_eval`` that an evaluation which
    was due has been cut off. ``show`` puts a text on the progress bar.
    """

    step: int
    last: bool
    state: TrainState
    metric_sums: Any
    put_off: list[Callable[[], object]]
    show: Callable[[str], None]
    stop: bool = False
    pending_eval: bool = False

    def later(self, work: Callable[[], object]) -> None:
        """Have ``work`` done once the next dispatch is on its way, or before a checkpoint is saved."""
        self.put_off.append(work)

    def settle(self) -> None:
        """Do all that was put off, in order."""
        while self.put_off:
            self.put_off.pop(0)()

    @functools.cached_property
    def fetched(self) -> Any:
        """``metric_sums`` on the host; waits for the step, so it is for `later`."""
        return jax.device_get(self.metric_sums)


class Output:
    """Something that is done after a dispatch; those dispatches end where any of ``cuts`` is due."""

    cuts: Collection[Every] = ()

    def __call__(self, runs: Runs, now: Moment) -> None:
        """Do it, if it is due at this moment."""
        raise NotImplementedError


class NonFinite(Output):
    """Reports steps that were not finite, where a log line is due; before that, since such a line is not written."""

    def __init__(self, every: Every):
        self.every, self.cuts = every, (every,)

    def __call__(self, runs: Runs, now: Moment) -> None:
        """See `Output`."""
        if self.every.due(now.step):
            now.later(lambda: runs.check(now.step, now.fetched))


class Log(Output):
    """Writes the training line."""

    def __init__(self, every: Every):
        self.every, self.cuts = every, (every,)

    def __call__(self, runs: Runs, now: Moment) -> None:
        """See `Output`."""
        if self.every.due(now.step):
            now.later(lambda: now.show(runs.log(now.step, now.fetched)))


class Evaluate(Output):
    """Evaluates the network, at the end of the stage in any case."""

    def __init__(self, every: Every):
        self.every, self.cuts = every, (every,)

    def __call__(self, runs: Runs, now: Moment) -> None:
        """See `Output`; where it is cut off by a stop, the moment's evaluation is pending."""
        if now.last or self.every.due(now.step):
            try:
                now.later(runs.evaluate(now.step, now.state))
            except preemption.Stopped:
                now.pending_eval = now.stop = True


class Stop(Output):
    """Ends training where `preemption` says so."""

    def __call__(self, runs: Runs, now: Moment) -> None:
        """See `Output`; of several processes each asks equally often."""
        now.stop = now.stop or preemption.should_stop()


class Save(Output):
    """Saves a checkpoint; also at the end of the stage, where training stops, and by the clock.

    If more than ``minutes`` (0 = never) went by since the last one, where ``by_the_clock`` is due.
    """

    def __init__(self, every: Every, minutes: float, by_the_clock: Every):
        self.every, self.cuts = every, (every,)
        self._minutes, self._by_the_clock, self._saved_at = minutes, by_the_clock, time.monotonic()

    def __call__(self, runs: Runs, now: Moment) -> None:
        """See `Output`."""
        late = self._by_the_clock.due(now.step) and self._is_late()
        if late or now.last or now.stop or self.every.due(now.step):
            now.settle()  # a checkpoint never stands for a step whose lines are not written yet
            runs.save(now.step, now.state, now.pending_eval)
            self._saved_at = time.monotonic()

    def _is_late(self) -> bool:
        if self._minutes <= 0:
            return False
        return distributed.run_on_host0(lambda: time.monotonic() - self._saved_at >= 60 * self._minutes)
