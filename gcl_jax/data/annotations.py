"""iNaturalist 2018's annotations: JSON with images, their categories and the categories' names."""

import array
import itertools
from collections.abc import Callable, Mapping

import numpy as np

from gcl_jax.data import json_stream
from gcl_jax.data.entries import LABEL_LIMIT, Entries, reader
from gcl_jax.data.problems import Problem
from gcl_jax.errors import UserError

KEYS = ("images", "annotations", "categories")
ID_LIMIT = 2**62  # ids from 0 on and below stand for themselves


def parse(text: str, name: str) -> Entries:
    """`read`, for a text in memory.

    >>> text = ('{"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [{"image_id": 7, "category_id": 0}], '
    ...     '"categories": [{"id": 0, "name": "wren"}]}')
    >>> entries = parse(text, "val.json")
    >>> entries.paths, entries.labels.tolist(), entries.class_names
    (('a.jpg',), [0], ('wren',))
    """
    return read(reader(text), name)


def read(characters: Callable[[int], str], name: str) -> Entries:
    """Read ``images`` [{id, file_name}], ``annotations`` [{image_id, category_id}], ``categories`` [{id, name}].

    ``characters(n)`` gives the next n of the text. Labels are the category ids, which must be 0..C-1. An image without
    exactly one annotation, and what cannot be read, becomes a problem of the result.

    Raises UserError where the file as a whole is something else.
    """
    ids = _Codes(ID_LIMIT)
    categories: list = []
    images, annotations = _Images(name, ids), _Annotations(name, ids)
    blocks = {"images": images.add, "annotations": annotations.add, "categories": categories.extend}
    seen = set()
    try:
        for key, part in json_stream.lists(characters, KEYS):
            seen.add(key)
            blocks[key](part)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is no JSON ({error}); a text list must not end in .json") from error
    for key in KEYS:
        if key not in seen:
            raise UserError(f"{name} has no list {key!r}; iNaturalist's annotations have {', '.join(KEYS)}")
    return _joined(name, images, annotations, _class_names(categories, name))


class _Codes:
    """Integers for ids of any size or type, so that a column of them takes 8 bytes a row.

    Whole numbers from 0 to ``limit`` - 1 are their own codes; the others, ``values``, have the codes -1, -2, ...
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._codes: dict[int | str, int] = {}
        self.values: list[int | str] = []

    def of(self, value: int | str) -> int:
        """The code of ``value``."""
        if type(value) is int and 0 <= value < self._limit:
            return value
        if value not in self._codes:
            self.values.append(value)
            self._codes[value] = -len(self.values)
        return self._codes[value]

    def stand_for_themselves(self, values: list) -> bool:
        """Whether all of ``values`` are their own codes."""
        return {*map(type, values)} == {int} and min(values) >= 0 and max(values) < self._limit


class _Annotations:
    """The columns image and category of the annotations, in codes."""

    def __init__(self, name: str, ids: _Codes):
        self._name, self._ids, self._number = name, ids, 0
        self.categories = _Codes(LABEL_LIMIT)
        self.images, self.labels = array.array("q"), array.array("q")
        self.problems: list[Problem] = []

    def add(self, part: list) -> None:
        """Append the annotations ``part``."""
        images, labels = _column(part, "image_id"), _column(part, "category_id")
        if self._ids.stand_for_themselves(images) and self.categories.stand_for_themselves(labels):
            self.images.extend(images)
            self.labels.extend(labels)
        else:
            for number, entry in enumerate(part, self._number + 1):
                image, label = _fields(entry, image_id=(int, str), category_id=int)
                if image is None or label is None:
                    self.problems.append(Problem("malformed", f"{self._name}, annotation {number}", repr(entry)[:100]))
                else:
                    self.images.append(self._ids.of(image))
                    self.labels.append(self.categories.of(label))
        self._number += len(part)


class _Images:
    """The columns id (in codes), number and path of the images."""

    def __init__(self, name: str, ids: _Codes):
        self._name, self._ids, self._number = name, ids, 0
        self.ids, self.numbers = array.array("q"), array.array("q")
        self.paths: list[str] = []
        self.problems: list[tuple[int, Problem]] = []

    def add(self, part: list) -> None:
        """Append the images ``part``."""
        ids, paths = _column(part, "id"), _column(part, "file_name")
        if self._ids.stand_for_themselves(ids) and {*map(type, paths)} == {str} and _is_utf8("".join(paths)):
            self.ids.extend(ids)
            self.paths += paths
            self.numbers.extend(range(self._number + 1, self._number + 1 + len(part)))
        else:
            for number, entry in enumerate(part, self._number + 1):
                self._add(number, entry)
        self._number += len(part)

    def _add(self, number: int, entry: object) -> None:
        image, path = _fields(entry, id=(int, str), file_name=str)
        if image is None or path is None:
            self.refuse(number, "malformed", repr(entry)[:100])
        elif not _is_utf8(path):
            self.refuse(number, "name that is not UTF-8", path)
        else:
            self.ids.append(self._ids.of(image))
            self.paths.append(path)
            self.numbers.append(number)

    def refuse(self, number: int, kind: str, what: str) -> None:
        """Note a problem of the image ``number``."""
        self.problems.append((number, Problem(kind, f"{self._name}, image {number}", what)))


def _joined(name: str, images: _Images, annotations: _Annotations, class_names: tuple[str, ...]) -> Entries:
    """The images that have exactly one category, and the problems of the others."""
    labels, ids = np.asarray(annotations.labels), np.asarray(images.ids)
    annotated, first, which = np.unique(np.asarray(annotations.images), return_index=True, return_inverse=True)
    several = np.zeros(len(annotated), bool)
    several[which[labels != labels[first][which]]] = True
    known = np.isin(ids, annotated)
    place = np.where(known, np.searchsorted(annotated, ids), 0)
    label = labels[first][place] if len(labels) else np.zeros(len(ids), np.int64)
    good = known & (label >= 0) & ~several[place] if len(labels) else known
    for i in np.flatnonzero(~good).tolist():
        number, path = images.numbers[i], images.paths[i]
        if not known[i]:
            images.refuse(number, "malformed", f"{path} has no annotation")
        elif several[place[i]]:
            images.refuse(number, "bad label", f"{path} has several categories")
        else:
            category = annotations.categories.values[-1 - label[i]]
            images.refuse(number, "bad label", f"{path} has category {_shortened(category)}")
    problems = [
        *annotations.problems,
        *(problem for _, problem in sorted(images.problems, key=lambda numbered: numbered[0])),
    ]
    numbers = np.asarray(images.numbers)[good]
    paths = tuple(itertools.compress(images.paths, good.tolist()))
    return Entries(name, paths, label[good], tuple(numbers.tolist()), tuple(problems), class_names, "image")


def _column(part: list, key: str) -> list:
    """The values of ``key``; [] where an element lacks it."""
    try:
        return [entry[key] for entry in part]
    except (KeyError, TypeError):
        return []


def _fields(entry: object, **kinds: type | tuple[type, ...]) -> list:
    """The values of the keys named, None where they are absent or of another type (a bool is no int)."""
    values = [entry.get(key) if isinstance(entry, Mapping) else None for key in kinds]
    return [
        v if isinstance(v, kind) and not isinstance(v, bool) else None
        for v, kind in zip(values, kinds.values(), strict=True)
    ]


def _is_utf8(text: str) -> bool:
    """Whether a text from JSON has none of the escapes that stand for no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(number: int | str) -> str:
    """A number for a message.

    >>> _shortened(12), _shortened(10**400)
    ('12', '10000000000000000000... (of 401 digits)')
    """
    text = str(number)
    return text if len(text) <= 20 else f"{text[:20]}... (of {len(text)} digits)"


def _class_names(categories: list, name: str) -> tuple[str, ...]:
    names = {}
    for category in categories:
        label, text = _fields(category, id=int, name=str)
        if label is None or text is None or label in names or not _is_utf8(text):
            raise UserError(f"{name}: the category {repr(category)[:100]} has no id and name of its own")
        names[label] = text
    if names and not (min(names) == 0 and max(names) == len(names) - 1):
        ends = f"{_shortened(min(names))} to {_shortened(max(names))}"
        raise UserError(f"{name}: category ids run from {ends}; number {len(names)} of them 0..C-1")
    return tuple(names[label] for label in range(len(names)))
