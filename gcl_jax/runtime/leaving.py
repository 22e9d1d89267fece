"""Leaving: a command that has ended in an error ends its process too, whatever threads its libraries left behind."""

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
def in_time(patience: float = PATIENCE) -> Iterator[None]:
    """To be put around a whole command, in the main thread.

    Python waits for every thread before it leaves, and one of a library may wait for minutes for what never comes. So
    the process ends with its status at the next signal, and after an error at the latest in ``patience`` seconds. No
    signal changes the status of a command that has done all it will do.
    """
    try:
        yield
    except SystemExit as ended:
        _leave(_status(ended.code), patience)
        raise
    except BaseException:
        _leave(1, patience)
        raise
    _leave(0, patience)


def without_teardown() -> None:
    """End the process of a command that is over before Python takes its libraries' code apart.

    To be called first of all, before they are imported: what they do at exit is then done before. Taken apart after a
    signal had come in the middle of a compilation, the compiler ended the process by a segmentation fault.
    """
    atexit.register(_end)


_over: list[int] = []  # the exit status of a command that is over


def _end() -> None:
    if _over:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_over[0])


def _status(code: object) -> int:
    """The exit status that Python makes of the argument of `sys.exit`."""
    if code is None:
        return 0
    return code if isinstance(code, int) else 1


def _leave(status: int, patience: float) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
        sys.stdout.flush()
    _over[:] = [status]
    for number in preemption.SIGNALS:
        signal.signal(number, lambda *_: os._exit(status))
    atexit.register(preemption.ignore)  # once no thread is waited for: Python takes another second
    if status:
        late = threading.Timer(patience, os._exit, (status,))
        late.daemon = True
        late.start()
