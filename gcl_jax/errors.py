"""The one exception for whatever a user can put right, and the checks that raise it most.

``main`` prints its message as a single line and exits with status 1; everything else is a
defect of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad config, file, array or checkpoint; the message names the culprit and the cure."""


def did_you_mean(value: object, valid: Iterable[str]) -> str:
    """ " (did you mean 'nearest'?)" for a typo, or nothing when no valid name is near.

    >>> did_you_mean("epoch", ["epochs", "method"])
    " (did you mean 'epochs'?)"
    """
    near = difflib.get_close_matches(str(value), list(valid), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def require(ok: bool, field: str, value: object, allowed: str) -> None:
    """Raise UserError("FIELD is VALUE; it must be ALLOWED") unless ``ok``."""
    if not ok:
        raise UserError(f"{field} is {value!r}; it must be {allowed}")


def require_one_of(field: str, value: object, valid: Iterable[str]) -> None:
    """Raise UserError unless ``value`` is one of ``valid``, naming the nearest and all of them."""
    valid = list(valid)
    if value not in valid:
        raise UserError(f"{field} is {value!r}{did_you_mean(value, valid)}; choose one of {', '.join(valid)}")
