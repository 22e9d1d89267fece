"""Duplicates, images of equal bytes: those that are in two splits, under two labels, or twice in one split."""

import collections
import hashlib
import os
import stat
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gcl_jax.data.dataset import Split
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.files import Files
from gcl_jax.data.on_disk import THREADS

TAIL = 4096  # bytes at a file's end that are compared before whole files are: images of one camera begin alike
SHOWN = 3  # examples in a message

Images = np.ndarray | EncodedImages
Position = tuple[str, int]  # split, position in it


def equal_files(paths: Sequence[str]) -> list[list[int]]:
    """Groups of two or more positions of ``paths`` whose files hold the same bytes, in order.

    Only files of equal size are opened, and only those with equal ends are read whole. Empty and unreadable ones are
    left out.
    """
    groups = [list(range(len(paths)))]
    with ThreadPoolExecutor(THREADS) as pool:
        for key in (_size, _tail, _digest):
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

    Compared are arrays, and photographs that are files or whose ``digests`` have been read. A file that the lists of
    both test and validation name is meant to be in both.
    """
    groups = _equal_images({part: split.images for part, split in splits.items()})
    for part, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        pairs = [pair for group in groups for pair in _pairs(group, part, other)]
        if other != "train":
            pairs = [(a, b) for a, b in pairs if _where(splits, part, a) != _where(splits, other, b)]
        if pairs:
            examples = [(_name(splits, part, a), _name(splits, other, b)) for a, b in pairs]
            yield (
                f"warning: {len(pairs):,} of {len(splits[part]):,} {part} images are {other} images too, byte for "
                f"byte: {_listed(examples)}"
            )
    yield from _conflicts(groups, splits, class_names)
    for part, split in splits.items():
        within = [[i for its_part, i in group if its_part == part] for group in groups]
        copies = [(_name(splits, part, i), _name(splits, part, equal[0])) for equal in within for i in equal[1:]]
        if copies:
            yield (
                f"warning: {len(copies):,} of {len(split):,} {part} images are copies of others there, byte for byte: "
                f"{_listed(copies)}"
            )


def _equal_images(splits: Mapping[str, Images]) -> list[list[Position]]:
    """Groups of equal images."""
    digests = {part: _digests(images) for part, images in splits.items()}
    known = {part: values for part, values in digests.items() if values is not None}
    if len(known) == len(splits):
        positions = [(part, i) for part, values in known.items() for i in range(len(values))]
        groups = equal_keys([bytes(known[part][i]) for part, i in positions])
    else:
        files = {part: images for part, images in splits.items() if isinstance(images, Files)}
        positions = [(part, i) for part, images in files.items() for i in range(len(images))]
        groups = equal_files([files[part].where(i) for part, i in positions])
    return [[positions[j] for j in group] for group in groups]


def _digests(images: Images) -> Sequence | None:
    if isinstance(images, np.ndarray):
        return [hashlib.sha256(np.ascontiguousarray(image)).digest() for image in images]
    return getattr(images, "digests", None)


def _name(splits: Mapping[str, Split], part: str, i: int) -> str:
    """The name of an image in a warning."""
    images = splits[part].images
    return f"x_{part}[{i}]" if isinstance(images, np.ndarray) else images.paths[i]


def _where(splits: Mapping[str, Split], part: str, i: int) -> str:
    images = splits[part].images
    return _name(splits, part, i) if isinstance(images, np.ndarray) else images.where(i)


def _conflicts(
    groups: Iterable[Sequence[Position]], splits: Mapping[str, Split], class_names: Sequence[str]
) -> Iterator[str]:
    """A line on images that are there under several labels, if any."""
    examples = []
    for group in groups:
        first_of: dict[int, str] = {}
        for part, i in group:
            first_of.setdefault(int(splits[part].labels[i]), _name(splits, part, i))
        if len(first_of) > 1:
            examples.append([f"{path} ({class_names[label]})" for label, path in first_of.items()])
    if examples:
        images = "image is" if len(examples) == 1 else "images are"
        yield f"warning: {len(examples):,} {images} there under more than one label, byte for byte: {_listed(examples)}"


def _pairs(group: Sequence[Position], part: str, other: str) -> list[tuple[int, int]]:
    """Each image of ``part`` with the first of ``other`` in the group."""
    of_other = [i for its_part, i in group if its_part == other]
    return [(i, of_other[0]) for its_part, i in group if its_part == part and of_other]


def _listed(examples: Sequence[Sequence[str]]) -> str:
    """The first few of ``examples``, each the names of equal images, and how many more there are."""
    text = ", ".join(" = ".join(names) for names in examples[:SHOWN])
    return text + (f" and {len(examples) - SHOWN:,} more" if len(examples) > SHOWN else "")


def _size(path: str) -> int | None:
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) and info.st_size else None


def _tail(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read()
    except OSError:
        return None


def _digest(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
