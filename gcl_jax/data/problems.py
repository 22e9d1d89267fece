"""Problems of lists and folders of photographs, all of them in one report."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence

from gcl_jax.errors import UserError, cut

# Kinds of problems in the order of a report, each with what to do about it.
KINDS = {
    "malformed": "a list has lines `relative/path label`, an annotation file what iNaturalist 2018's has",
    "bad label": "labels are whole numbers 0..C-1, where the training list lays down C",
    "class without training image": "number the classes 0..C-1 without gaps, each with at least one training image",
    "class unknown to training": "test and validation have the classes of training, written alike",
    "class that is there twice": "names that are spelled by other code points and look alike: make one folder of them",
    "duplicate": "an image stands once in a list, and not both in training and in test or validation",
    "outside the root": "paths stay below data.path, without `..` and without links out of it: move data.path up, or, "
    "where you trust the lists and the folder, --config.data.photos.allow_outside=True",
    "missing": "the paths start from data.path: name the folder that holds them; a link that leads nowhere: mend it",
    "not in TFDS": "the list is of another data set, or a split was not prepared",
    "unreadable": "make it readable to this user (chmod, another disk), or take it out",
    "no regular file": "FIFOs, sockets and devices are not read: take it out",
    "empty file": "copy it again, or take it out",
    "name that is not UTF-8": "rename it",
}
SHOWN = 10  # problems that a report names one by one


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One of `KINDS`, where it is (a list, line or entry) and what exactly.

    >>> str(Problem("missing", "train.txt, line 3", "a/1.jpg"))
    'train.txt, line 3: missing: a/1.jpg'
    """

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        text = f"{self.where}: {self.kind}: {cut(self.what, 300)}"
        return text.encode(errors="backslashreplace").decode()  # what is no UTF-8 could not be printed


def title(problems: Sequence[Problem]) -> str:
    """The number of ``problems`` in words.

    >>> title([])
    '0 problems'
    """
    return f"{len(problems):,} problem{'' if len(problems) == 1 else 's'}"


def report(problems: Sequence[Problem]) -> Iterator[str]:
    """Lines of a report: each kind with its number and what to do, then the first ten problems.

    >>> print("\\n".join(report([Problem("empty file", "train.txt, line 3", "a/1.jpg")])))
    1 empty file (copy it again, or take it out)
      train.txt, line 3: empty file: a/1.jpg
    """
    numbers = collections.Counter(problem.kind for problem in problems)
    for kind, hint in KINDS.items():
        if kind in numbers:
            yield f"{numbers[kind]:,} {kind} ({hint})"
    yield from (f"  {line}" for line in first_lines(problems))


def first_lines(items: Sequence) -> Iterator[str]:
    """The first ten of ``items`` as text, and how many more there are.

    >>> list(first_lines(range(12)))[-2:]
    ['9', 'and 2 more']
    """
    yield from map(str, items[:SHOWN])
    if len(items) > SHOWN:
        yield f"and {len(items) - SHOWN:,} more"


def require_none(name: str, problems: Sequence[Problem]) -> None:
    """Raise one UserError, of several lines, that reports all ``problems`` of the data set ``name``, if any."""
    if problems:
        raise UserError("\n".join([f"{name}: {title(problems)}", *report(problems)]))
