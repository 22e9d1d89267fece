"""The one exception for whatever a user can put right, and the checks that raise it most.

Commands print its message as a single line and exit with status 1 (`exit_on_user_error`); everything else
is a defect of ours and keeps its traceback.
"""

import contextlib
import difflib
import errno
import math
import os
import sys
from collections.abc import Iterable, Iterator

from absl import flags


class UserError(ValueError):
    """Bad config, file, array or checkpoint; the message names the culprit and the cure."""


# What an operating system says of files through no fault of ours; that one is not there would be a defect.
_OF_FILES = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ESTALE,
    errno.ETIMEDOUT, errno.ENOTCONN, errno.EMFILE, errno.ENFILE, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
    errno.ENAMETOOLONG,
)  # fmt: skip


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """End the process with one line and status 1 on a UserError, or on a flag that is none; also a decorator.

    >>> with exit_on_user_error():
    ...     raise UserError("there is no such file")
    Traceback (most recent call last):
    SystemExit: error: there is no such file
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # one file's, wherever it was opened
        if error.filename is None or error.errno not in _OF_FILES:
            raise
        sys.exit(
            f"error: {error.filename} cannot be read or written ({error.strerror}); see who may, and what is there"
        )
    except flags.Error as error:
        sys.exit(f"error: {str(error).splitlines()[0]}")


@contextlib.contextmanager
def writing(path: object) -> Iterator[None]:
    """Make an OSError (disk full, read-only, ...) a UserError that names ``path`` and the cure."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror or error}); what was saved before is untouched. Make room, "
            "or see that the folder can be written, and give the same command again"
        ) from error


@contextlib.contextmanager
def reading(path: object) -> Iterator[None]:
    """Make an OSError (no right, a folder, a disk that fails, ...) a UserError that names the file and says why.

    The file is the one that the operating system names, else ``path``.
    """
    try:
        yield
    except OSError as error:
        file = path if error.filename is None else error.filename
        raise UserError(
            f"{os.fsdecode(file) if isinstance(file, bytes) else file} could not be read ({error.strerror or error}); "
            "nothing was changed. See what is in its place and who may read it, and give the same command again"
        ) from error


def require_readable(folders: Iterable) -> None:
    """Raise UserError if one of ``folders`` (paths) is there and cannot be listed: it would pass for an empty one."""
    for folder in folders:
        with reading(folder), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            next(iter(folder.iterdir()), None)


def require_utf8(path: str | os.PathLike[str]) -> None:
    """Raise UserError unless ``path`` is the same for the operating system and for libraries that take it as UTF-8."""
    text = os.fspath(path)
    try:
        same = os.fsencode(text) == text.encode()
    except UnicodeEncodeError:
        same = False
    if not same:
        shown = text.encode(errors="backslashreplace").decode()
        raise UserError(f"{shown} is no UTF-8 here: set PYTHONUTF8=1 (the locale is another), or name another folder")


def did_you_mean(value: object, valid: Iterable[str]) -> str:
    """ " (did you mean 'nearest'?)" for a typo, or nothing when no valid name is near.

    >>> did_you_mean("epoch", ["epochs", "method"])
    " (did you mean 'epochs'?)"
    """
    near = difflib.get_close_matches(str(value), list(valid), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def shown(value: object) -> str:
    """``value`` as a message shows it: a number of very many digits by how many there are, a long text cut.

    >>> shown(0.5), shown(10**30), len(shown("x" * 1000))
    ('0.5', 'a number of about 31 digits', 100)
    """
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a number of about {int(value.bit_length() * math.log10(2)) + 1} digits"  # str refuses very long ones
    return cut(repr(value))


def cut(text: str, length: int = 100) -> str:
    """``text`` without its middle where it is longer than ``length`` characters."""
    return text if len(text) <= length else f"{text[: length * 3 // 5]} ... {text[-length * 7 // 20 :]}"


def require(ok: bool, field: str, value: object, allowed: str) -> None:
    """Raise UserError("FIELD is VALUE; it must be ALLOWED") unless ``ok``."""
    if not ok:
        raise UserError(f"{field} is {shown(value)}; it must be {allowed}")


def require_one_of(field: str, value: object, valid: Iterable[str]) -> None:
    """Raise UserError unless ``value`` is one of ``valid``, naming the nearest and all of them."""
    valid = list(valid)
    if value not in valid:
        raise UserError(f"{field} is {shown(value)}{did_you_mean(value, valid)}; choose one of {', '.join(valid)}")
