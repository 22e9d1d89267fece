"""The entries of a text list: images with labels, as the lists of long-tailed data sets have them."""

import array
import dataclasses
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from gcl_jax.data import csv_columns
from gcl_jax.data.problems import Problem

LABEL_LIMIT = 2**31  # labels are int32
MAX_CACHED = 100_000  # labels whose text is looked up, not parsed again
CHUNK = 2**20  # characters that are split into lines together


@dataclasses.dataclass(frozen=True)
class Entries:
    """Paths and labels int64[N] of the good entries of a list, and the ``problems`` of the others.

    ``numbers`` says for each entry which line of the list it was, or whatever ``unit`` is, from 1 on. ``class_names``
    is empty where a list has none.
    """

    name: str
    paths: tuple[str, ...]
    labels: np.ndarray
    numbers: tuple[int, ...]
    problems: tuple[Problem, ...] = ()
    class_names: tuple[str, ...] = ()
    unit: str = "line"

    def where(self, position: int) -> str:
        """Where an entry stands, for messages: "train.txt, line 12"."""
        return f"{self.name}, {self.unit} {self.numbers[position]}"


def parse(text: str, name: str) -> Entries:
    """`read`, for a text in memory.

    >>> entries = parse("a b/1.jpg 0\\n\\nc/2.jpg x\\n", "train.txt")
    >>> entries.paths, entries.labels.tolist(), str(entries.problems[0])
    (('a b/1.jpg',), [0], "train.txt, line 3: bad label: 'x' of c/2.jpg is no whole number from 0 on")
    """
    return read(_lines(reader(text)), name)


def read(lines: Iterable[str], name: str) -> Entries:
    """Read lines ``relative/path label``; the label is the last field, blank lines are skipped.

    What cannot be read becomes a problem of the result, not an error. Raises UserError for a table of columns.
    """
    lines = iter(lines)
    start = list(itertools.islice(lines, 20))
    csv_columns.refuse(start, name)
    paths, labels, numbers, problems = [], array.array("q"), array.array("q"), []
    known: dict[str, int] = {}  # a few labels stand in many lines
    for number, line in enumerate(itertools.chain(start, lines), 1):
        fields = line.strip().rsplit(maxsplit=1)
        if not fields:
            continue
        if len(fields) == 1:
            problems.append(Problem("malformed", f"{name}, line {number}", repr(fields[0][:100])))
            continue
        path, text = fields
        label = known.get(text)
        if label is None:
            if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= LABEL_LIMIT:
                message = f"{text[:20]!r} of {path} is no whole number from 0 on"
                problems.append(Problem("bad label", f"{name}, line {number}", message))
                continue
            label = int(text)
            if len(known) < MAX_CACHED:
                known[text] = label
        paths.append(path)
        labels.append(label)
        numbers.append(number)
    return Entries(name, tuple(paths), np.array(labels, np.int64), tuple(numbers), tuple(problems))


def reader(text: str) -> Callable[[int], str]:
    """A function that reads a text in memory like the method ``read`` of a text stream.

    >>> read = reader("abc")
    >>> read(2), read(2), read(2)
    ('ab', 'c', '')
    """
    at = 0

    def read(characters: int) -> str:
        nonlocal at
        part = text[at : at + characters]
        at += len(part)
        return part

    return read


def _lines(read: Callable[[int], str]) -> Iterator[str]:
    """Lines that end with a line feed, a carriage return or both, as Python's text files have them."""
    decoder, rest = io.IncrementalNewlineDecoder(None, translate=True), ""
    while part := read(CHUNK):
        *whole, rest = (rest + decoder.decode(part)).split("\n")
        yield from whole
    yield rest + decoder.decode("", final=True)
