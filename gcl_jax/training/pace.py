"""How far the host runs ahead of the device: far enough that it never waits, not so far that a stop would."""

import collections
import time
from collections.abc import Callable
from typing import Any

import jax

from gcl_jax.runtime import distributed

SECONDS = 2.0  # of work in a dispatch, where that is more than one step
LONG = 1.0  # seconds; behind a dispatch of more nothing is queued, since the host's own part is small beside it


class Pace:
    """The dispatches that are not known to be done, and how long the next one may be, of at most ``most`` steps.

    A signal is answered once the running dispatch is done, and the one queued behind it if both are short.

    >>> pace = Pace(most=50)
    >>> pace.steps()  # what a step takes is not known yet
    1
    >>> pace.dispatched(1, metric_sums=0), pace.dispatched(1, metric_sums=0)
    (0, 1)
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic):
        self._most, self._clock = most, clock
        self._steps, self._asked = 1, 0
        self._waiting = collections.deque()  # (steps, metric_sums, when it was dispatched)
        self._step_seconds = collections.deque(maxlen=4)  # of the latest dispatches
        self._done_at = clock()

    def steps(self) -> int:
        """Steps that the next dispatch may take; of several processes each has to ask equally often."""
        # What process 0 says; the others wait for it, so it is asked for often only at first.
        if self._most > 1 and (self._asked < 8 or self._asked % 32 == 0):
            self._steps = distributed.run_on_host0(self._affordable)
        self._asked += 1
        return self._steps

    def _affordable(self) -> int:
        if (seconds := self._seconds_of(1)) is None:
            return 1
        return int(min(max(SECONDS / max(seconds, 1e-9), 1), self._most))

    def _seconds_of(self, steps: int) -> float | None:
        # The least: an evaluation may have run in between, or the machine have been busy.
        return steps * min(self._step_seconds) if self._step_seconds else None

    def dispatched(self, steps: int, metric_sums: Any) -> int:
        """Note a dispatch of ``steps``, which will make ``metric_sums``; wait for what is before it.

        Returns how many steps are known to be done since the last call.
        """
        self._waiting.append((steps, metric_sums, self._clock()))
        long = (self._seconds_of(steps) or 0) > LONG
        return self.wait(running=0 if long else 1)

    def wait(self, running: int = 0) -> int:
        """Wait until at most ``running`` dispatches are not done; returns how many steps are, since the last call."""
        done = 0
        while len(self._waiting) > running:
            steps, metric_sums, dispatched_at = self._waiting.popleft()
            jax.block_until_ready(metric_sums)
            now = self._clock()
            self._step_seconds.append((now - max(dispatched_at, self._done_at)) / steps)
            self._done_at = now
            done += steps
        return done
