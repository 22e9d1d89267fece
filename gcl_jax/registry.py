"""Names that configs choose from: methods, networks, optimizers, and whatever else can be added from outside."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TypeVar

from gcl_jax.errors import UserError, require_one_of
from gcl_jax.ranges import Range

T = TypeVar("T")
Built = TypeVar("Built")


class Registry(dict[str, T]):
    """{name: thing} of one ``kind``; `register` adds what is kept outside the package.

    >>> colors = Registry("color", {"red": 1})
    >>> colors.register("blue", 2)
    >>> sorted(colors)
    ['blue', 'red']
    """

    def __init__(self, kind: str, entries: Mapping[str, T]):
        super().__init__()
        self.kind = kind
        for name, thing in entries.items():
            self.register(name, thing)

    def register(self, name: str, thing: T) -> None:
        """Add ``thing`` as ``name``; one of the same module and name is replaced, for a file may be executed twice.

        Raises UserError if the name is taken by something else.
        """
        if name in self and self[name] != thing and _origin(self[name]) != _origin(thing):
            raise UserError(f"the {self.kind} {name!r} is registered already: choose another name")
        self[name] = thing


def _origin(thing: object) -> tuple:
    thing = thing.func if isinstance(thing, functools.partial) else thing
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", id(thing))


def option(default: T, allowed: str = "") -> T:
    """A field of a registered dataclass that is a key of the config: its default, and of a number its `Range`."""
    return dataclasses.field(
        default=default, metadata={"option": True} | ({"range": Range(allowed)} if allowed else {})
    )


def options_of(entry: object) -> dict[str, dataclasses.Field]:
    """The `option` fields of a registered dataclass, or of a partial of one that leaves them open."""
    bound: Mapping = {}
    if isinstance(entry, functools.partial):
        bound, entry = entry.keywords, entry.func
    fields = dataclasses.fields(entry) if dataclasses.is_dataclass(entry) else ()
    return {field.name: field for field in fields if "option" in field.metadata and field.name not in bound}


class OptionRegistry(Registry[Callable[..., Built]]):
    """A registry of dataclasses whose `option` fields are keys of one block of the config.

    The block holds the options of all of them, so that another name is a whole override on the command line; what is
    registered from outside adds its own (`bind`). ``options`` are {name: default}, ``ranges`` the numbers'.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Plain:
    ...     width: int = option(8, "[1, 64]")
    >>> shapes = OptionRegistry("shape", {"plain": Plain})
    >>> shapes.bind({"name": "plain"}, {}, "")
    {'name': 'plain', 'width': 8}
    >>> shapes.build({"name": "plain", "width": 4}, "config.shape")
    Plain(width=4)
    """

    def __init__(self, kind: str, entries: Mapping[str, Callable[..., Built]]):
        self.options: dict[str, object] = {}
        self.ranges: dict[str, Range] = {}
        self._bound: list[tuple[dict[str, object], dict[str, Range], str]] = []
        super().__init__(kind, entries)

    def bind(self, block: dict[str, object], ranges: dict[str, Range], prefix: str) -> dict[str, object]:
        """``block``, the defaults of a block of the config, with all options there are, and those to come.

        So are ``ranges``, under ``prefix`` and the option's name.
        """
        self._bound.append((block, ranges, prefix))
        self._update()
        return block

    def _update(self) -> None:
        for block, ranges, prefix in self._bound:
            block.update(self.options)
            ranges.update({f"{prefix}{key}": allowed for key, allowed in self.ranges.items()})

    def register(self, name: str, thing: Callable[..., Built]) -> None:
        """As `Registry.register`; UserError for an option that is another entry's with another default or range."""
        fields = options_of(thing)
        for key, field in fields.items():
            allowed = field.metadata.get("range")
            known = (self.options.get(key, field.default), self.ranges.get(key, allowed))
            if known != (field.default, allowed) or (
                key not in self.options and any(key in block for block, _, _ in self._bound)
            ):
                raise UserError(f"the {self.kind} {name!r} has an option {key!r}, which means something else already")
        super().register(name, thing)
        self.options |= {key: field.default for key, field in fields.items()}
        self.ranges |= {key: field.metadata["range"] for key, field in fields.items() if "range" in field.metadata}
        self._update()

    def chosen(self, block: Mapping, where: str) -> Callable[..., Built]:
        """The entry that ``block`` names.

        Raises UserError for an unknown name, and for an option of other entries that is not at its default.
        """
        require_one_of(f"{where}.name", block["name"], self)
        entry = self[block["name"]]
        for key in sorted(set(self.options) - set(options_of(entry))):
            if key in block and block[key] != self.options[key]:
                others = ", ".join(name for name, other in self.items() if key in options_of(other))
                raise UserError(
                    f"{where}.{key} is {block[key]!r}, but {block['name']} has no {key}: leave it out, or choose one "
                    f"of {others}"
                )
        return entry

    def build(self, block: Mapping, where: str, **arguments: object) -> Built:
        """What ``block`` describes: its entry called with its options and ``arguments``; UserError as of `chosen`."""
        entry = self.chosen(block, where)
        return entry(**{key: block[key] for key in options_of(entry) if key in block}, **arguments)
