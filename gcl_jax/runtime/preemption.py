"""Stopping on request: SIGTERM, SIGINT or SIGHUP end a command with its work saved and exit status 0.

Commands handle signals inside `signal_handlers`; a program that imports gcl_jax keeps its own handlers, such as
Python's KeyboardInterrupt. A stage in training asks `should_stop` after every step and evaluation batch; everything
else, of which a kill would lose nothing either, is left at once by the exception `Stopped`.

Before a command has done anything, while Python still imports (`handle_signals_while_importing`) or it waits for other
processes inside JAX (`exit_on_signal`), a signal ends it with the same line and status.

Several processes have to stop at the same step. There JAX's distributed runtime catches SIGTERM, tells the other
processes and chooses the step, which `should_stop` asks it for; the other signals are passed on as SIGTERM.

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
_stop_requested = threading.Event()
_deferred = threading.Event()
_exit_at_once = threading.Event()
_calls = itertools.count(1)


class Stopped(BaseException):
    """Raised where a command stops on request; a BaseException, so that no ``except Exception`` swallows it."""


@contextlib.contextmanager
def signal_handlers() -> Iterator[None]:
    """A context that handles `SIGNALS`, and on `Stopped` ends the process with a line and status 0; also a decorator.

    A second SIGINT ends the process at once, even while XLA compiles. Must be entered in the main thread.
    """
    try:
        with _handlers():
            yield
    except Stopped as stop:
        print(stop.args[0] if stop.args else STOPPED, flush=True)
        sys.exit(0)


def handle_signals_while_importing() -> None:
    """End the process at a signal while a command still imports what it needs; `signal_handlers` then takes over."""
    for number in _signals_to_handle():
        signal.signal(number, lambda *_: _exit_stopped())


def exit_on_signal() -> contextlib.AbstractContextManager[None]:
    """A context in which a signal ends the process at once, even where Python waits in a library's code."""
    return _during(_exit_at_once)


def _signals_to_handle() -> list[signal.Signals]:
    return [s for s in SIGNALS if not (s == signal.SIGHUP and signal.getsignal(s) == signal.SIG_IGN)]


def _exit_stopped() -> None:
    streams.write(1, f"{STOPPED}\n")
    os._exit(0)


def ignore() -> None:
    """Ignore signals from here on, so that none changes the exit status of a command that is done."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def should_stop() -> bool:
    """Whether to stop here. Each of several processes has to call this equally often, and gets the same answer."""
    if _several():
        from jax.experimental import multihost_utils

        # Calls are counted, not steps: a dispatch may take several of those, and each stage begins at 0 again.
        if multihost_utils.reached_preemption_sync_point(next(_calls)):
            _stop_requested.set()  # JAX says so once
    return _stop_requested.is_set()


def check() -> None:
    """Raise `Stopped` if `should_stop`."""
    if should_stop():
        raise Stopped()


def deferred() -> contextlib.AbstractContextManager[None]:
    """A context in which a signal raises nothing: the code in it asks `should_stop`, and stops where it can resume."""
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
    first = not _stop_requested.is_set()
    _stop_requested.set()
    if first and not _deferred.is_set():
        raise Stopped()


@contextlib.contextmanager
def _handlers() -> Iterator[None]:
    _stop_requested.clear()
    signals = [s for s in _signals_to_handle() if not (s == signal.SIGTERM and _several())]  # JAX's handler stays
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
        _stop_requested.clear()


def _watch(reader: int) -> None:
    """Print a line at the first signal and exit at the second SIGINT, for the main thread may be in a library's code.

    Reads the signals' numbers from the file descriptor ``reader``, up to a zero.
    """
    seen: list[int] = []
    while (byte := os.read(reader, 1)) not in (b"", b"\0"):
        number = byte[0]
        if number == signal.SIGINT and signal.SIGINT in seen:
            os._exit(128 + signal.SIGINT)
        if number in SIGNALS and _exit_at_once.is_set():
            _exit_stopped()
        if number in SIGNALS and not seen:
            name = signal.Signals(number).name
            streams.write(2, f"{name}: stopping as soon as what was done is saved (Ctrl-C, again: at once)\n")
        seen.append(number)
