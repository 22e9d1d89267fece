"""How far the host runs ahead of the device: far enough that the device never waits, not so far that a stop has to."""

import collections
import time
from collections.abc import Callable

import jax

from gcl_jax.runtime import distributed
from gcl_jax.typing import PyTree

SECONDS = 2.0  # of work in one dispatch, at most, unless a single step takes longer
LONG = 1.0  # seconds; nothing is queued behind a longer dispatch, since the host's share of the time is small then


class Pace:
    """The dispatches that may still be running, and how many steps, at most ``max_steps``, the next one may have.

    A signal takes effect once the running dispatch is done, and the one queued behind it if both are short.

    >>> pace = Pace(max_steps=50)
    >>> pace.steps()  # the time of a step is not known yet
    1
    >>> pace.dispatched(1, metric_sums=0), pace.dispatched(1, metric_sums=0)
    (0, 1)
    """

    def __init__(self, max_steps: int, clock: Callable[[], float] = time.monotonic):
        self._max_steps, self._clock = max_steps, clock
        self._steps, self._calls = 1, 0
        # (steps, metric_sums, time of the dispatch)
        self._waiting: collections.deque[tuple[int, PyTree, float]] = collections.deque()
        self._step_seconds: collections.deque[float] = collections.deque(maxlen=4)  # of the latest dispatches
        self._done_at = clock()

    def steps(self) -> int:
        """The number of steps that the next dispatch may take; every process has to call this equally often."""
        # Process 0 decides and the others wait for it, so this is updated often only at first.
        if self._max_steps > 1 and (self._calls < 8 or self._calls % 32 == 0):
            self._steps = distributed.run_on_host0(self._affordable_steps)
        self._calls += 1
        return self._steps

    def _affordable_steps(self) -> int:
        if (seconds := self._seconds_of(1)) is None:
            return 1
        return int(min(max(SECONDS / max(seconds, 1e-9), 1), self._max_steps))

    def _seconds_of(self, steps: int) -> float | None:
        # The minimum: an evaluation may have run in between, or the machine may have been busy.
        return steps * min(self._step_seconds) if self._step_seconds else None

    def dispatched(self, steps: int, metric_sums: PyTree) -> int:
        """Record a dispatch of ``steps`` that will return ``metric_sums``; wait for the dispatches before it.

        Returns how many more steps are done than at the last call.
        """
        self._waiting.append((steps, metric_sums, self._clock()))
        long = (self._seconds_of(steps) or 0) > LONG
        return self.wait(running=0 if long else 1)

    def wait(self, running: int = 0) -> int:
        """Wait until at most ``running`` dispatches are unfinished; returns how many more steps are done by then."""
        done = 0
        while len(self._waiting) > running:
            steps, metric_sums, dispatched_at = self._waiting.popleft()
            jax.block_until_ready(metric_sums)
            done_at = self._clock()
            self._step_seconds.append((done_at - max(dispatched_at, self._done_at)) / steps)
            self._done_at = done_at
            done += steps
        return done
