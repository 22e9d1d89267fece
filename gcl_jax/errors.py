"""The one exception for whatever a user can put right, and the checks that raise it most.

Commands print its message as a single line and exit with status 1 (`in_one_line`); everything else
is a defect of ours and keeps its traceback.
"""

import contextlib
import difflib
import math
import sys
from collections.abc import Iterable, Iterator

from absl import flags


class UserError(ValueError):
    """Bad config, file, array or checkpoint; the message names the culprit and the cure."""


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """End the process with one line and status 1 on a UserError, or on a flag that is none; also a decorator.

    >>> with in_one_line():
    ...     raise UserError("there is no such file")
    Traceback (most recent call last):
    SystemExit: error: there is no such file
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
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


def cut(text: str) -> str:
    """``text`` without its middle where it is long."""
    return text if len(text) <= 100 else f"{text[:60]} ... {text[-35:]}"


def require(ok: bool, field: str, value: object, allowed: str) -> None:
    """Raise UserError("FIELD is VALUE; it must be ALLOWED") unless ``ok``."""
    if not ok:
        raise UserError(f"{field} is {shown(value)}; it must be {allowed}")


def require_one_of(field: str, value: object, valid: Iterable[str]) -> None:
    """Raise UserError unless ``value`` is one of ``valid``, naming the nearest and all of them."""
    valid = list(valid)
    if value not in valid:
        raise UserError(f"{field} is {shown(value)}{did_you_mean(value, valid)}; choose one of {', '.join(valid)}")
