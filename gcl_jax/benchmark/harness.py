"""Contenders as processes that take turns, and what follows from their times.

The protocol, a line each way: a worker answers ``ready`` when it has warmed up. Then it is sent
``N``, does N units of work and answers ``{"seconds": S}``, or is sent ``facts`` and answers with what
it knows of itself. A UserError of a worker is answered as ``{"error": TEXT}``. It ends with its input.
"""

import contextlib
import json
import select
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence

from gcl_jax.errors import UserError


class Worker:
    """A contender's process, started and warmed up; a context manager that ends it.

    Raises UserError, with its last words, if the process ends before it has answered.
    """

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None):
        self.name = name
        self._open = contextlib.ExitStack()
        self._words = self._open.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115 (not a pipe, which would fill)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, text=True, env=env
        )
        if not (self._process.stdin and self._process.stdout):
            raise RuntimeError("the worker has no pipes")
        self._stdin, self._stdout = self._process.stdin, self._open.enter_context(self._process.stdout)
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def turn(self, units: int) -> float:
        """Do ``units`` units of work; seconds per unit."""
        return self._ask(str(units))["seconds"] / units

    def facts(self) -> dict:
        """What the worker knows of itself: memory, platform, sizes."""
        return self._ask("facts")

    def close(self) -> None:
        """End the process, and wait until it has ended."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._open.close()

    def _ask(self, request: str) -> dict:
        try:
            self._stdin.write(f"{request}\n")
            self._stdin.flush()
        except BrokenPipeError:
            pass  # it has died, which reading finds out
        return self._answer()

    def _answer(self) -> dict:
        # A dead worker's own children can hold its end of the pipe open, so end of file is not enough to wait for.
        stdout = self._stdout
        while not select.select([stdout], [], [], 1.0)[0]:
            if self._process.poll() is not None and not select.select([stdout], [], [], 0)[0]:
                self._died()
        text = stdout.readline().strip()
        if not text:
            self._died()
        answer = {} if text == "ready" else json.loads(text)
        if "error" in answer:
            raise UserError(f"{self.name}: {answer['error']}")
        return answer

    def _died(self):
        status = self._process.wait()
        self._words.seek(0)
        words = self._words.read().strip()
        if words:
            print(f"--- {self.name} said:\n{words}\n---", file=sys.stderr)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        last = words.splitlines()[-1] if words else "it said nothing; the machine may be out of memory"
        raise UserError(f"{self.name}: the worker process {how} before it answered: {last}")


def units_for(worker: Worker, seconds: float) -> int:
    """How many units last about ``seconds``, by doubling: at least half and, one unit being shorter, at most twice."""
    units = 1
    while worker.turn(units) * units < seconds / 2:
        units *= 2
    return units


def interleave(
    workers: Sequence[Worker], units: Sequence[int], rounds: int, before_round: Callable[[], object]
) -> list[list[float]]:
    """Seconds per unit of each worker in each round, [worker][round]; the workers take turns.

    ``before_round`` is called while none of them works.
    """
    times: list[list[float]] = [[] for _ in workers]
    for _ in range(rounds):
        before_round()
        for worker, number, unit_times in zip(workers, units, times, strict=True):
            unit_times.append(worker.turn(number))
    return times


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and extremes.

    >>> spread([3.0, 1.0, 2.0])
    {'median': 2.0, 'min': 1.0, 'max': 3.0}
    """
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def fastest(times: Mapping[str, Sequence[float]]) -> str:
    """The name with the smallest median time.

    >>> fastest({"a": [3.0, 3.0, 1.0], "b": [2.0, 2.0, 9.0]})
    'b'
    """
    return min(times, key=lambda name: statistics.median(times[name]))


def speed_ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times faster ``ours`` is: the spread of the ratio, round by round.

    >>> speed_ratio([1.0, 2.0, 1.0], [2.0, 2.0, 3.0])
    {'median': 2.0, 'min': 1.0, 'max': 3.0}
    """
    return spread([b / a for a, b in zip(ours, theirs, strict=True)])
