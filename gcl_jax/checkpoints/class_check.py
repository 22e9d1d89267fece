"""Classes by their names: a head knows its classes by number, and two data sets may number the same ones otherwise."""

import unicodedata
from collections.abc import Sequence

from gcl_jax.errors import UserError


def require_same(theirs: Sequence[str] | None, ours: Sequence[str], origin: str, hint: str) -> None:
    """Raise UserError unless a network with the classes ``theirs`` (None = not known) is one for the data's ``ours``.

    ``origin`` names the network, and ``hint`` says what to do.
    """
    if message := difference(theirs, ours):
        raise UserError(f"{origin} has other classes than the data: {message}. {hint}")


def difference(theirs: Sequence[str] | None, ours: Sequence[str]) -> str:
    """The first difference between a network's classes, "there", and the data's, "here"; "" where there is none.

    Classes without names, called "0", "1", ..., can only be counted.

    >>> difference(("cat", "dog"), ("dog", "cat"))
    "class 0 is 'cat' there and 'dog' here (the same 2 classes in another order)"
    >>> difference(("cat", "dog"), ("cat", "dog", "eel"))
    "2 classes there and 3 here, of which 'eel' is only here"
    >>> difference(("0", "1"), ("cat", "dog"))
    ''
    """
    if theirs is None:
        return ""
    named = not (_are_numbers(theirs) or _are_numbers(ours))
    theirs, ours = ([unicodedata.normalize("NFC", name) for name in names] for names in (theirs, ours))
    if len(theirs) != len(ours):
        message = f"{len(theirs)} classes there and {len(ours)} here"
        for place, names, others in (("here", ours, theirs), ("there", theirs, ours)):
            if named and (unmatched := [name for name in names if name not in set(others)]):
                return f"{message}, of which {unmatched[0]!r} is only {place}"
        return message
    if not named or theirs == ours:
        return ""
    number = next(i for i, (name, our_name) in enumerate(zip(theirs, ours, strict=True)) if name != our_name)
    order = f" (the same {len(ours)} classes in another order)" if sorted(theirs) == sorted(ours) else ""
    return f"class {number} is {theirs[number]!r} there and {ours[number]!r} here{order}"


def unknown(theirs: Sequence[str] | None, ours: Sequence[str]) -> str:
    """Why the classes cannot be compared by name, for a message; "" where they can, or both sides have numbers.

    >>> unknown(("0", "1"), ("cat", "dog"))
    'has its classes by number only'
    """
    if theirs is None:
        return "" if _are_numbers(ours) else "does not name its classes"
    if _are_numbers(theirs) == _are_numbers(ours):
        return ""
    return "has its classes by number only" if _are_numbers(theirs) else "names its classes, the data number theirs"


def _are_numbers(names: Sequence[str]) -> bool:
    return list(names) == [str(i) for i in range(len(names))]
