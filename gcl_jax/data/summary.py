"""A summary of a data set, saved with a run, and the difference between two: in classes and numbers of images."""

from collections.abc import Iterator, Mapping, Sequence

from gcl_jax.data.dataset import Dataset
from gcl_jax.data.remarks import SHOWN

UNKNOWN = "images, labels or names of files are not what they were"


def summary(dataset: Dataset) -> dict:
    """The names of classes, their training images, and the number of images of each split."""
    return {
        "class_names": list(dataset.class_names),
        "class_counts": dataset.counts.tolist(),
        "images": {part: len(split) for part, split in dataset.splits.items()},
    }


def difference(then: object, now: Mapping) -> str:
    """How the data ``now`` differ from ``then``, each a `summary`, in words; runs of older versions have none.

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
    gone, new = _missing_from(names, old_names), _missing_from(old_names, names)
    if gone or new:
        yield ", ".join([_phrase(some, change) for some, change in ((gone, "gone"), (new, "new")) if some])
    elif names != old_names:
        yield "the classes are in another order"
    for part in sorted({*then["images"], *now["images"]}, key=["train", "test", "validation"].index):
        old_size, size = then["images"].get(part, 0), now["images"].get(part, 0)
        if size != old_size:
            yield f"{part} images: {old_size:,} -> {size:,}"
    if names == old_names:
        counts = list(zip(names, then["class_counts"], now["class_counts"], strict=True))
        differing = [(name, a, b) for name, a, b in counts if a != b]
        changes = [f"class {name!r}: {a:,} -> {b:,}" for name, a, b in differing[:SHOWN]]
        if differing:
            more = f" and {len(differing) - SHOWN:,} more classes" if len(differing) > SHOWN else ""
            yield f"training images of {', '.join(changes)}{more}"


def _missing_from(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those of ``others`` that are not in ``names``."""
    present = set(names)
    return [name for name in others if name not in present]


def _phrase(names: Sequence[str], change: str) -> str:
    """That the classes ``names`` are "gone" or "new"."""
    listed = ", ".join(map(repr, names[:SHOWN]))
    if len(names) == 1:
        return f"class {listed} is {change}"
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"classes {listed}{more} are {change}"
