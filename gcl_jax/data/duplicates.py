"""Images of equal bytes, files or arrays: those that are in two splits, under two labels, or in one split twice."""

import collections
import hashlib
import os
import stat
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gcl_jax.data.dataset import Split
from gcl_jax.data.files import Files
from gcl_jax.data.on_disk import THREADS

END = 4096  # bytes of a file that are read before all are: the last, since images of one camera begin alike
NAMED = 3


def equal_files(paths: Sequence[str]) -> list[list[int]]:
    """Groups of positions of ``paths`` whose files hold the same bytes, in order; none of one file alone.

    Only files of one size are opened, and only those with one end read whole. Empty and unreadable ones are left out.
    """
    groups = [list(range(len(paths)))]
    with ThreadPoolExecutor(THREADS) as pool:
        for key in (_size, _end, _digest):
            members = [i for group in groups for i in group]
            keys = dict(zip(members, pool.map(lambda i, key=key: key(paths[i]), members), strict=True))
            groups = [
                [group[j] for j in equal] for group in groups for equal in equal_keys([keys[i] for i in group])
            ]  # fmt: skip
    return groups


def equal_keys(keys: Sequence[Hashable | None]) -> list[list[int]]:
    """Groups of two or more positions with equal keys (digests, say); None equals nothing.

    >>> equal_keys(["a", "b", "a", None, None])
    [[0, 2]]
    """
    positions = collections.defaultdict(list)
    for i, key in enumerate(keys):
        if key is not None:
            positions[key].append(i)
    return [group for group in positions.values() if len(group) > 1]


def warnings(splits: Mapping[str, Split], class_names: Sequence[str]) -> Iterator[str]:
    """A line for each two splits that share images, for images under two labels, and for copies within a split.

    Photographs are compared that are files of their own, or whose ``digests`` have been read, and arrays; of others
    there is nothing to tell. One file that lists name in both test and validation is meant to be in both.
    """
    groups = _equal({part: split.images for part, split in splits.items()})
    for part, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        pairs = [pair for group in groups for pair in _pairs(group, part, other)]
        if other != "train":
            pairs = [(a, b) for a, b in pairs if _where(splits, part, a) != _where(splits, other, b)]
        if pairs:
            message = [(_name(splits, part, a), _name(splits, other, b)) for a, b in pairs]
            yield (
                f"warning: {len(pairs):,} of {len(splits[part]):,} {part} images are {other} images too, byte for "
                f"byte: {_named(message)}"
            )
    yield from _conflicts(groups, splits, class_names)
    for part, split in splits.items():
        inside = [[i for same, i in group if same == part] for group in groups]
        copies = [(_name(splits, part, i), _name(splits, part, same[0])) for same in inside for i in same[1:]]
        if copies:
            yield (
                f"warning: {len(copies):,} of {len(split):,} {part} images are copies of others there, byte for byte: "
                f"{_named(copies)}"
            )


def _equal(splits):
    """Groups of (split, position) of equal images."""
    known = {part: _digests(images) for part, images in splits.items()}
    if all(digests is not None for digests in known.values()):
        images = [(part, i) for part, digests in known.items() for i in range(len(digests))]
        groups = equal_keys([bytes(known[part][i]) for part, i in images])
    else:
        images = [(part, i) for part, files in splits.items() if isinstance(files, Files) for i in range(len(files))]
        groups = equal_files([splits[part].where(i) for part, i in images])
    return [[images[j] for j in group] for group in groups]


def _digests(images):
    if isinstance(images, np.ndarray):
        return [hashlib.sha256(np.ascontiguousarray(image)).digest() for image in images]
    return getattr(images, "digests", None)


def _name(splits, part, i):
    """How a warning calls an image."""
    images = splits[part].images
    return f"x_{part}[{i}]" if isinstance(images, np.ndarray) else images.paths[i]


def _where(splits, part, i):
    images = splits[part].images
    return _name(splits, part, i) if isinstance(images, np.ndarray) else images.where(i)


def _conflicts(groups, splits, class_names):
    message = []
    for group in groups:
        first_of: dict[int, str] = {}
        for part, i in group:
            first_of.setdefault(int(splits[part].labels[i]), _name(splits, part, i))
        if len(first_of) > 1:
            message.append([f"{path} ({class_names[label]})" for label, path in first_of.items()])
    if message:
        images = "image is" if len(message) == 1 else "images are"
        yield f"warning: {len(message):,} {images} there under more than one label, byte for byte: {_named(message)}"


def _pairs(group, part, other):
    """Each image of ``part`` with the first of ``other`` in the group."""
    theirs = [i for its_part, i in group if its_part == other]
    return [(i, theirs[0]) for its_part, i in group if its_part == part and theirs]


def _named(equal):
    text = ", ".join(" = ".join(names) for names in equal[:NAMED])
    return text + (f" and {len(equal) - NAMED:,} more" if len(equal) > NAMED else "")


def _size(path):
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) and info.st_size else None


def _end(path):
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - END))
            return file.read()
    except OSError:
        return None


def _digest(path):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
