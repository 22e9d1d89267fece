"""How many steps each dispatch of a stage takes: none runs past a step after which something is due."""

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
        in_epoch = step % self.per_epoch if self.per_epoch else step
        return in_epoch % self.steps == 0

    def after(self, step: int) -> int:
        """The first step after ``step`` at which it is due."""
        in_epoch = step % self.per_epoch if self.per_epoch else step
        next_due = (in_epoch // self.steps + 1) * self.steps
        return step - in_epoch + (min(next_due, self.per_epoch) if self.per_epoch else next_due)


def length(first: int, cuts: Collection[Every], *, max_steps: int) -> int:
    """How many steps the dispatch takes that begins after step ``first`` of a stage.

    It runs past no step at which one of ``cuts`` is due, and takes at most ``max_steps``.

    >>> length(10, [Every(4, per_epoch=10), Every(15)], max_steps=3)
    3
    """
    return min(first + max_steps, *(every.after(first) for every in cuts)) - first


def lengths(first: int, per_epoch: int, cuts: Collection[Every], *, max_steps: int) -> list[int]:
    """`length` of each dispatch from step ``first`` of a stage to the end of that epoch.

    >>> lengths(10, 10, [Every(4, per_epoch=10), Every(15)], max_steps=3)
    [3, 1, 1, 3, 2]
    """
    sizes, end = [], (first // per_epoch + 1) * per_epoch
    while first < end:
        sizes.append(length(first, cuts, max_steps=max_steps))
        first += sizes[-1]
    return sizes
