"""Classes and sizes of a data set, kept with a run so that it can be told in what other data differ."""

from collections.abc import Iterator, Mapping

from gcl_jax.data.dataset import Dataset
from gcl_jax.data.remarks import NAMED

UNKNOWN = "images, labels or names of files are not what they were"


def summary(dataset: Dataset) -> dict:
    """The names of classes, their training images, and the number of images of each split."""
    return {
        "class_names": list(dataset.class_names),
        "class_counts": dataset.counts.tolist(),
        "images": {part: len(split) for part, split in dataset.splits.items()},
    }


def difference(then: object, now: Mapping) -> str:
    """In what the data ``now`` differ from those of ``then``, both a `summary`; of an older run ``then`` is no such.

    >>> then = {"class_names": ["ant", "bee"], "class_counts": [9, 3], "images": {"train": 12, "test": 4}}
    >>> difference(then, then | {"class_names": ["ant", "wasp"]})
    "class 'bee' is gone, class 'wasp' is new"
    >>> difference(then, then | {"class_counts": [9, 2], "images": {"train": 11, "test": 4}})
    "train images: 12 -> 11; training images of class 'bee': 3 -> 2"
    """
    if not isinstance(then, Mapping):
        return UNKNOWN
    try:
        return "; ".join(_differences(then, now)) or UNKNOWN
    except (AttributeError, KeyError, TypeError, ValueError):
        return UNKNOWN


def _differences(then: Mapping, now: Mapping) -> Iterator[str]:
    names, old_names = now["class_names"], then["class_names"]
    gone, new = (_only(names_of_one, other) for names_of_one, other in ((old_names, names), (names, old_names)))
    if gone or new:
        yield ", ".join([_told(some, what) for some, what in ((gone, "gone"), (new, "new")) if some])
    elif names != old_names:
        yield "the classes are in another order"
    for part in sorted({*then["images"], *now["images"]}, key=["train", "test", "validation"].index):
        sizes = [names_of_one["images"].get(part, 0) for names_of_one in (then, now)]
        if sizes[0] != sizes[1]:
            yield f"{part} images: {sizes[0]:,} -> {sizes[1]:,}"
    if names == old_names:
        counts = list(zip(names, then["class_counts"], now["class_counts"], strict=True))
        differing = [(name, a, b) for name, a, b in counts if a != b]
        message = [f"class {name!r}: {a:,} -> {b:,}" for name, a, b in differing[:NAMED]]
        if differing:
            more = f" and {len(differing) - NAMED:,} more classes" if len(differing) > NAMED else ""
            yield f"training images of {', '.join(message)}{more}"


def _only(some, others):
    others = set(others)
    return [name for name in some if name not in others]


def _told(names, what):
    named = ", ".join(map(repr, names[:NAMED]))
    if len(names) == 1:
        return f"class {named} is {what}"
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"classes {named}{more} are {what}"
