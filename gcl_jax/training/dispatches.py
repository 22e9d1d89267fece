"""Where a stage's dispatches of several steps are cut: something is due only where one ends."""

import dataclasses
from collections.abc import Collection


@dataclasses.dataclass(frozen=True)
class Every:
    """When something is due: each ``steps`` steps of a stage; with ``per_epoch`` counted in the epoch, and at its end.

    >>> [step for step in range(1, 21) if Every(4, per_epoch=10).due(step)]
    [4, 8, 10, 14, 18, 20]
    """

    steps: int
    per_epoch: int = 0

    def due(self, step: int) -> bool:
        """Whether it is due after ``step``, counted from 1."""
        within = step % self.per_epoch if self.per_epoch else step
        return within % self.steps == 0

    def after(self, step: int) -> int:
        """The first step after ``step`` at which it is due."""
        within = step % self.per_epoch if self.per_epoch else step
        following = (within // self.steps + 1) * self.steps
        return step - within + (min(following, self.per_epoch) if self.per_epoch else following)


def length(first: int, due: Collection[Every], *, most: int) -> int:
    """How many steps the dispatch takes that begins after step ``first`` of a stage.

    It crosses no step at which any of ``due`` is, and is no longer than ``most``.

    >>> length(10, [Every(4, per_epoch=10), Every(15)], most=3)
    3
    """
    return min(first + most, *(every.after(first) for every in due)) - first


def lengths(first: int, per_epoch: int, due: Collection[Every], *, most: int) -> list[int]:
    """`length` of each dispatch from step ``first`` of a stage to the end of that epoch.

    >>> lengths(10, 10, [Every(4, per_epoch=10), Every(15)], most=3)
    [3, 1, 1, 3, 2]
    """
    found, end = [], (first // per_epoch + 1) * per_epoch
    while first < end:
        found.append(length(first, due, most=most))
        first += found[-1]
    return found
