"""The range of every number: of the config's keys (`config.keys.RANGES`), and of methods' and samplers' fields."""

import dataclasses
import math
import numbers
import re
from typing import TYPE_CHECKING, Any, TypeVar

from gcl_jax.errors import UserError, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Number = TypeVar("Number", int, float, tuple[float, ...])

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
INTERVAL = re.compile(rf"(?:({NUMBER}) or )?([\[(])({NUMBER}), ({NUMBER})([\])])")


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval as mathematics writes it; before it may stand one more value, mostly the one that means "off".

    >>> 0 in Range("[0, 1)"), 1 in Range("[0, 1)"), -1 in Range("-1 or [0, 1)")
    (True, False, True)
    """

    text: str

    def __post_init__(self) -> None:
        _ = self._parts  # which raises ValueError

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest number, whether or not they lie in it."""
        low, high = self._parts.group(3, 4)
        return float(low), float(high)

    @property
    def apart(self) -> float | None:
        """The value that is allowed besides the interval."""
        value = self._parts[1]
        return None if value is None else float(value)

    @property
    def _parts(self) -> re.Match[str]:
        if not (parts := INTERVAL.fullmatch(self.text)):
            raise ValueError(f"{self.text!r} is no interval such as [0, 1) or -1 or [0, 1)")
        return parts

    def __contains__(self, value: float) -> bool:
        (low, high), opened, closed = self.ends, self.text.rpartition(" or ")[2][0], self.text[-1]
        within = (low < value if opened == "(" else low <= value) and (value < high if closed == ")" else value <= high)
        return within or value == self.apart

    def __str__(self) -> str:
        apart, _, interval = self.text.rpartition(" or ")
        return f"be {apart} or lie in {interval}" if apart else f"lie in {interval}"


# Of numbers whose range nobody has declared: hyper-parameters of methods from outside. What float32 and int32 hold.
UNDECLARED = {float: Range("[-1e30, 1e30]"), int: Range("[-2147483648, 2147483647]")}


def ranged(default: Number, text: str) -> Number:
    """A dataclass's field: a number, or a tuple of them, with its default and its `Range`.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Loss:
    ...     scale: float = ranged(1.0, "[1e-3, 1e3]")
    >>> check_fields(Loss(scale=0.0))
    Traceback (most recent call last):
    gcl_jax.errors.UserError: scale is 0.0; it must lie in [1e-3, 1e3]
    """
    return dataclasses.field(default=default, metadata={"range": Range(text)})


def ranges_of(cls: type) -> dict[str, Range]:
    """{name: Range} of the fields of a dataclass that have one."""
    return {f.name: f.metadata["range"] for f in dataclasses.fields(cls) if "range" in f.metadata}


def check_fields(instance: "DataclassInstance") -> None:
    """Raise UserError naming the first field of a dataclass that is a number and lies outside of its range."""
    allowed = ranges_of(type(instance))
    for field in dataclasses.fields(instance):
        if type(field.default) in (int, float, tuple):
            check(getattr(instance, field.name), field.default, allowed.get(field.name), field.name)


def check(value: object, default: object, allowed: Range | None, where: str) -> None:
    """Raise UserError naming ``where`` unless ``value`` is a number of the type of ``default``, in ``allowed``.

    Of a tuple the entries are checked, which are real numbers. A real number may be given as a whole one; True and
    False are none, nor is -0.0, which would be another config than 0.0 with the same result.

    >>> check(10**400, 1.0, Range("[0, 1]"), "beta")
    Traceback (most recent call last):
    gcl_jax.errors.UserError: beta is a number of about 401 digits; it must lie in [0, 1]
    """
    if isinstance(default, tuple):
        if not isinstance(value, tuple | list):
            raise UserError(f"{where} is {shown(value)}; it must be a tuple")
        for entry in value:
            check(entry, 0.0, allowed, f"an entry of {where}")
        return
    kind = type(default)
    wanted: Any = numbers.Real if kind is float else numbers.Integral
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise UserError(f"{where} is {shown(value)}; it must be {'an' if kind is int else 'a'} {kind.__name__}")
    number: Any = value
    if not isinstance(number, numbers.Integral):
        if not math.isfinite(number):
            raise UserError(f"{where} is {number}; give a finite number")
        if number == 0 and math.copysign(1, number) < 0:
            raise UserError(f"{where} is {number}; write 0.0")
    allowed = allowed or UNDECLARED[kind]
    if number not in allowed:
        raise UserError(f"{where} is {shown(value)}; it must {allowed}")
