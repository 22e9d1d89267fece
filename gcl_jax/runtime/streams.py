"""Standard output and error that never fail a command: for a closed pipe, a full disk, a character without an encoding.

What a command prints is for people, and its results are in files: `guard` drops what cannot be written, and
`require_written` is for commands whose only result is what they print.
"""

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

from gcl_jax.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Buffer  # of Python 3.12

_lost: dict[int, OSError] = {}  # file descriptor -> the first error of a write to it


class _Raw(io.FileIO):
    """A file descriptor that takes everything, and drops what cannot be written."""

    def write(self, data: "Buffer") -> int:
        view = memoryview(data).cast("B")
        try:
            while (written := super().write(view)) is None:  # set to not block by another program, and full
                select.select([], [self], [])
            return written
        except OSError as error:
            _lost.setdefault(self.fileno(), error)
            return len(view)


def guard() -> None:
    """Make sys.stdout and sys.stderr, and the file descriptors under them, streams that never raise; call it first.

    A stream that is closed becomes one to the null device, so that no file that is opened later takes its place.
    Characters that the stream's encoding lacks are written as ``\\xfc``.
    """
    _lost.clear()
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        _lost[descriptor] = OSError(errno.EBADF, os.strerror(errno.EBADF))
    os.close(descriptor)
    sys.stdout, sys.stderr = _guarded(sys.stdout, 1), _guarded(sys.stderr, 2)


def _guarded(stream: TextIO | None, descriptor: int) -> io.TextIOWrapper:
    if stream is not None:
        stream.flush()
    buffered = io.BufferedWriter(_Raw(descriptor, "w", closefd=False))
    return io.TextIOWrapper(
        buffered,
        encoding=getattr(stream, "encoding", None),
        errors="backslashreplace",
        line_buffering=descriptor == 2 or getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )


def require_written() -> None:
    """Raise UserError if standard output could not be written, unless its reader has closed the pipe."""
    sys.stdout.flush()
    if (error := _lost.get(1)) and error.errno != errno.EPIPE:
        raise UserError(f"standard output cannot be written ({error.strerror}): not all of the answer is there")


def write(descriptor: int, text: str) -> None:
    """Write at once, also from a signal's handler; what cannot be written is dropped."""
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        _lost.setdefault(descriptor, error)
