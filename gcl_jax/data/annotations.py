"""iNaturalist 2018's annotations: JSON with images, their categories and the categories' names."""

import json
from collections.abc import Mapping

import numpy as np

from gcl_jax.data.entries import MOST, Entries
from gcl_jax.data.problems import Problem
from gcl_jax.errors import UserError


def parse(text: str, name: str) -> Entries:
    """Read ``images`` [{id, file_name}], ``annotations`` [{image_id, category_id}], ``categories`` [{id, name}].

    Labels are the category ids, which must be 0..C-1. An image without exactly one annotation, and what cannot be
    read, becomes a problem of the result.

    Raises UserError where the file as a whole is something else.

    >>> text = ('{"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [{"image_id": 7, "category_id": 0}], '
    ...     '"categories": [{"id": 0, "name": "wren"}]}')
    >>> found = parse(text, "val.json")
    >>> found.paths, found.labels.tolist(), found.class_names
    (('a.jpg',), [0], ('wren',))
    """
    blocks = _blocks(text, name)
    paths, labels, numbers, problems = [], [], [], []
    label_of, twice = {}, set()
    for number, one in enumerate(blocks["annotations"], 1):
        image, label = _fields(one, image_id=(int, str), category_id=int)
        if image is None or label is None:
            problems.append(Problem("malformed", f"{name}, annotation {number}", repr(one)[:100]))
        elif label_of.setdefault(image, label) != label:
            twice.add(image)
    for number, one in enumerate(blocks["images"], 1):
        where = f"{name}, image {number}"
        image, path = _fields(one, id=(int, str), file_name=str)
        label = label_of.get(image)
        if image is None or path is None:
            problems.append(Problem("malformed", where, repr(one)[:100]))
        elif label is None:
            problems.append(Problem("malformed", where, f"{path} has no annotation"))
        elif image in twice or not 0 <= label < MOST:
            told = "has several categories" if image in twice else f"has category {label}"
            problems.append(Problem("bad label", where, f"{path} {told}"))
        else:
            paths.append(path)
            labels.append(label)
            numbers.append(number)
    names = _class_names(blocks["categories"], name)
    return Entries(name, tuple(paths), np.array(labels, np.int64), tuple(numbers), tuple(problems), names, "image")


def _blocks(text, name):
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is no JSON ({error}); a text list must not end in .json") from error
    blocks = {key: found.get(key) if isinstance(found, Mapping) else None for key in KEYS}
    for key, block in blocks.items():
        if not isinstance(block, list):
            raise UserError(f"{name} has no list {key!r}; iNaturalist's annotations have {', '.join(KEYS)}")
    return blocks


KEYS = ("images", "annotations", "categories")


def _fields(one, **kinds):
    """The values of the keys named, None where they are absent or of another type (a bool is no int)."""
    values = [one.get(key) if isinstance(one, Mapping) else None for key in kinds]
    return [
        v if isinstance(v, kind) and not isinstance(v, bool) else None
        for v, kind in zip(values, kinds.values(), strict=True)
    ]


def _class_names(categories, name):
    found = {}
    for one in categories:
        label, text = _fields(one, id=int, name=str)
        if label is None or text is None or label in found:
            raise UserError(f"{name}: the category {repr(one)[:100]} has no id and name of its own")
        found[label] = text
    if sorted(found) != list(range(len(found))):
        raise UserError(
            f"{name}: category ids run from {min(found)} to {max(found)}; number {len(found)} of them 0..C-1"
        )
    return tuple(found[label] for label in range(len(found)))
