"""Stopping on request: SIGTERM, SIGINT or SIGHUP end a command with what it did saved, and exit status 0.

Commands answer signals inside `answered`; a program that imports gcl_jax keeps its own answers, such as
KeyboardInterrupt. A stage in training answers at its next step or evaluation batch, which `due` tells it; everything
else, of which a kill would lose nothing either, is left at once by `Stopped`.

Before a command has done anything, be it that Python still imports or that it waits for other processes inside JAX, a
signal ends it with the same line and status: `nothing_done`.

Several processes have to stop at the same step. There JAX's distributed runtime catches SIGTERM, tells the others and
finds the step; `due` then asks it, and the others are passed on to it.

SIGHUP that nohup has turned off stays off.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator

from gcl_jax.runtime import streams

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPPED = "stopped; the same command goes on from what is saved"
_asked = threading.Event()
_deferred = threading.Event()
_nothing_done = threading.Event()
_calls = itertools.count(1)


class Stopped(BaseException):
    """Raised where a command stops because it was asked to; no ``except Exception`` is to swallow it."""


@contextlib.contextmanager
def signal_handlers() -> Iterator[None]:
    """Answer `SIGNALS` in here, and end the process with a line and status 0 on `Stopped`; also a decorator.

    A second SIGINT ends the process at once, even while XLA compiles. Must be entered in the main thread.
    """
    try:
        with _handlers():
            yield
    except Stopped as stop:
        print(stop.args[0] if stop.args else STOPPED, flush=True)
        sys.exit(0)


def answer_from_the_start() -> None:
    """Answer signals while a command still imports what it needs; `answered` then takes over."""
    for number in _heard():
        signal.signal(number, lambda *_: _end())


def nothing_done() -> contextlib.AbstractContextManager[None]:
    """In here a signal ends the process at once, even where Python cannot answer since it waits in a library."""
    return _during(_nothing_done)


def _heard() -> list[signal.Signals]:
    return [s for s in SIGNALS if not (s == signal.SIGHUP and signal.getsignal(s) == signal.SIG_IGN)]


def _end() -> None:
    streams.write(1, f"{STOPPED}\n")
    os._exit(0)


def ignore() -> None:
    """Let no signal change the exit status of a command that has done all it will do."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def should_stop() -> bool:
    """Whether to stop here. Of several processes each has to ask equally often, and gets the same answer."""
    if _several():
        from jax.experimental import multihost_utils

        # Calls are counted, not steps: a dispatch may take several of those, and each stage begins at 0 again.
        if multihost_utils.reached_preemption_sync_point(next(_calls)):
            _asked.set()  # it says so once
    return _asked.is_set()


def check() -> None:
    """Raise `Stopped` if a stop is `due`."""
    if should_stop():
        raise Stopped()


def deferred() -> contextlib.AbstractContextManager[None]:
    """In here a signal raises nothing: what runs asks `due` and stops where it can be resumed."""
    return _during(_deferred)


@contextlib.contextmanager
def _during(event: threading.Event) -> Iterator[None]:
    event.set()
    try:
        yield
    finally:
        event.clear()


def _several() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _on_signal(number: int, frame: object) -> None:
    if _several():
        os.kill(os.getpid(), signal.SIGTERM)  # which JAX's runtime catches, and tells the other processes
        return
    first = not _asked.is_set()
    _asked.set()
    if first and not _deferred.is_set():
        raise Stopped()


@contextlib.contextmanager
def _handlers() -> Iterator[None]:
    _asked.clear()
    signals = [s for s in _heard() if not (s == signal.SIGTERM and _several())]  # JAX's handler stays
    before = {number: signal.signal(number, _on_signal) for number in signals}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        os.write(writer, b"\0")
        watcher.join()
        os.close(reader)
        os.close(writer)
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()


def _watch(reader: int) -> None:
    """Speak up at the first signal and exit at the second SIGINT, which the main thread may be too busy to see."""
    seen: list[int] = []
    while (byte := os.read(reader, 1)) not in (b"", b"\0"):
        number = byte[0]
        if number == signal.SIGINT and signal.SIGINT in seen:
            os._exit(128 + signal.SIGINT)
        if number in SIGNALS and _nothing_done.is_set():
            _end()
        if number in SIGNALS and not seen:
            name = signal.Signals(number).name
            streams.write(2, f"{name}: stopping as soon as what was done is saved (Ctrl-C, again: at once)\n")
        seen.append(number)
