"""Reading the files that a user names: regular ones alone, and what is wrong with one in a line."""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import IO

from etils import epath

from gcl_jax.errors import UserError

KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}  # others are devices


def find(path: str | os.PathLike, key: str) -> epath.Path:
    """``path`` with ~ replaced.

    Raises UserError, which names ``key``, unless it is a regular file: a pipe, a socket or a device may never end.
    """
    file = epath.Path(os.path.expanduser(path))
    try:
        remote = "://" in str(file)  # an object store has neither pipes nor devices
        mode = os.stat(file).st_mode if not remote else stat.S_IFREG * file.is_file()
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise UserError(f"{key}: {shown(file)} cannot be read ({_reason(error)}): name another file") from error
    if not mode:
        raise UserError(f"{key}: there is no file {shown(file)}")
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "a device")
        raise UserError(f"{key}: {shown(file)} is {kind}: name a regular file (of a pipe, write the content to one)")
    return file


@contextlib.contextmanager
def opened(path: str | os.PathLike, key: str) -> Iterator[IO[bytes]]:
    """The file of `find`, open to read bytes; what goes wrong while it is open is a UserError that names ``key``.

    >>> with opened("nowhere.npz", "config.data.path"):
    ...     pass
    Traceback (most recent call last):
    gcl_jax.errors.UserError: config.data.path: there is no file nowhere.npz
    """
    file = find(path, key)
    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        raise UserError(
            f"{key}: {shown(file)} cannot be read ({_reason(error)}): see to its permissions, or copy it again"
        ) from error
    except MemoryError as error:
        raise UserError(f"{key}: {shown(file)} is too large for the memory of this machine") from error


def shown(path: object) -> str:
    """``path`` for a message of one line: as it is, or where it is very long or cannot be printed, quoted and cut.

    >>> shown("data/train.txt"), shown("a\\nb")
    ('data/train.txt', "'a\\\\nb'")
    """
    text = str(path)
    if len(text) > 1000:
        text = f"{text[:100]}...{text[-100:]}"
    return text if text.isprintable() else ascii(text)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
