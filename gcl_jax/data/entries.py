"""The entries of a text list: images with labels, as the lists of long-tailed data sets have them."""

import dataclasses
import re

import numpy as np

from gcl_jax.data.problems import Problem

MOST = 2**31  # labels are int32


@dataclasses.dataclass(frozen=True)
class Entries:
    """Paths and labels int64[N] of a list, and what was wrong with it; ``numbers`` are its lines, from 1 on.

    ``class_names`` is empty where a list has none; ``unit`` is what ``numbers`` count.
    """

    name: str
    paths: tuple[str, ...]
    labels: np.ndarray
    numbers: tuple[int, ...]
    problems: tuple[Problem, ...] = ()
    class_names: tuple[str, ...] = ()
    unit: str = "line"

    def where(self, position: int) -> str:
        """For people: "train.txt, line 12"."""
        return f"{self.name}, {self.unit} {self.numbers[position]}"


def parse(text: str, name: str) -> Entries:
    """Read lines ``relative/path label``; the label is the last field, blank lines are skipped.

    What cannot be read becomes a problem of the result, not an error.

    >>> found = parse("a b/1.jpg 0\\n\\nc/2.jpg x\\n", "train.txt")
    >>> found.paths, found.labels.tolist(), str(found.problems[0])
    (('a b/1.jpg',), [0], "train.txt, line 3: bad label: 'x' of c/2.jpg is no whole number from 0 on")
    """
    paths, labels, numbers, problems = [], [], [], []
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.strip().rsplit(maxsplit=1)
        if not fields:
            continue
        if len(fields) == 1:
            problems.append(Problem("malformed", f"{name}, line {number}", repr(fields[0][:100])))
        elif not re.fullmatch("[0-9]{1,10}", fields[1]) or int(fields[1]) >= MOST:
            told = f"{fields[1][:20]!r} of {fields[0]} is no whole number from 0 on"
            problems.append(Problem("bad label", f"{name}, line {number}", told))
        else:
            paths.append(fields[0])
            labels.append(int(fields[1]))
            numbers.append(number)
    return Entries(name, tuple(paths), np.array(labels, np.int64), tuple(numbers), tuple(problems))
