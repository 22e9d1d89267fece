"""Names that configs choose from: methods, optimizers, schedules, and whatever else can be added from outside."""

from collections.abc import Mapping
from typing import TypeVar

from gcl_jax.errors import UserError

T = TypeVar("T")


class Registry(dict[str, T]):
    """{name: thing} of one ``kind``; `register` adds what is kept outside the package.

    >>> colors = Registry("color", {"red": 1})
    >>> colors.register("blue", 2)
    >>> sorted(colors)
    ['blue', 'red']
    """

    def __init__(self, kind: str, entries: Mapping[str, T]):
        super().__init__(entries)
        self.kind = kind

    def register(self, name: str, thing: T) -> None:
        """Add ``thing`` as ``name``; one of the same module and name is replaced, for a file may be executed twice.

        Raises UserError if the name is taken by something else.
        """
        if name in self and self[name] is not thing and _origin(self[name]) != _origin(thing):
            raise UserError(f"the {self.kind} {name!r} is registered already: choose another name")
        self[name] = thing


def _origin(thing: object) -> tuple:
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", id(thing))
