"""Remarks on data that can be trained on, but whose results may mislead: classes without test images, duplicates."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gcl_jax import longtail
from gcl_jax.data import duplicates
from gcl_jax.data.dataset import Split

SHOWN = 3  # classes that a line names


def remarks(splits: Mapping[str, Split], class_names: Sequence[str]) -> Iterator[str]:
    """Lines on classes without a test or validation image, then on duplicate images.

    >>> test, train = (Split(np.zeros((len(y), 1, 1, 1), np.uint8), np.array(y)) for y in ([0], [0, 1]))
    >>> print(next(remarks({"train": train, "test": test}, ("ant", "bee"))))
    1 of 2 classes has no test image, and no test accuracy counts it: bee (1 training image)
    """
    counts = longtail.class_counts(splits["train"].labels, len(class_names))
    for part in ("test", "validation"):
        if part in splits:
            without = np.setdiff1d(np.arange(len(class_names)), splits[part].labels)
            if len(without):
                yield _without(part, without.tolist(), counts, class_names)
    yield from duplicates.warnings(splits, class_names)


def _without(part: str, classes: Sequence[int], counts: np.ndarray, class_names: Sequence[str]) -> str:
    """The line on ``classes`` that have no image in ``part``."""
    named = [f"{class_names[j]} ({counts[j]:,} training image{'' if counts[j] == 1 else 's'})" for j in classes[:SHOWN]]
    more = f" and {len(classes) - SHOWN:,} more" if len(classes) > SHOWN else ""
    verb, them = ("has", "it") if len(classes) == 1 else ("have", "them")
    return (
        f"{len(classes):,} of {len(class_names):,} classes {verb} no {part} image, and no {part} accuracy counts "
        f"{them}: {', '.join(named)}{more}"
    )
