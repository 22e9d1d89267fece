"""The end of a command's process: in time, whatever threads its libraries left behind, and with the right status."""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from gcl_jax.runtime import preemption

PATIENCE = 5.0  # seconds


@contextlib.contextmanager
def exit_within(patience: float = PATIENCE) -> Iterator[None]:
    """A context for a whole command, in the main thread; after an error the process ends within ``patience`` seconds.

    Python waits for every thread before it exits, and a library's thread may wait for minutes for what never comes. A
    signal ends the wait at once, and does not change the exit status of a command that is done.
    """
    try:
        yield
    except SystemExit as exit_request:
        _leave(_status(exit_request.code), patience)
        raise
    except BaseException:
        _leave(1, patience)
        raise
    _leave(0, patience)


def skip_teardown() -> None:
    """Let the process of a command that is over end before Python unloads its libraries.

    To be called before they are imported: exit handlers run in reverse order, so that theirs still run. Unloaded after
    a signal had come in the middle of a compilation, the compiler ended the process by a segmentation fault.
    """
    atexit.register(_exit_if_done)


_exit_status: list[int] = []  # of a command that is over; empty before


def _exit_if_done() -> None:
    if _exit_status:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_exit_status[0])


def _status(code: object) -> int:
    """The exit status that Python makes of the argument of `sys.exit`."""
    if code is None:
        return 0
    return code if isinstance(code, int) else 1


def _leave(status: int, patience: float) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
        sys.stdout.flush()
    _exit_status[:] = [status]
    for number in preemption.SIGNALS:
        signal.signal(number, lambda *_: os._exit(status))
    atexit.register(preemption.ignore)  # Python takes another second after the last thread has ended
    if status:
        timer = threading.Timer(patience, os._exit, (status,))
        timer.daemon = True
        timer.start()
