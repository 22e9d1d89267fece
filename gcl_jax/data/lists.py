"""Photographs in lists: a root folder and text files of `relative/path label`, or iNaturalist's annotations."""

import io
import json
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from gcl_jax import regular_files
from gcl_jax.data import annotations, entries
from gcl_jax.data.dataset import Source, Split
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.entries import Entries
from gcl_jax.data.files import Files
from gcl_jax.data.on_disk import bad_files
from gcl_jax.data.problems import Problem, require_none
from gcl_jax.errors import UserError

PARTS = ("train", "test", "validation")


def read(name: str, path: str, photos: Mapping) -> Source:
    """The images below ``path`` that ``photos``' train_list, test_list and, unless "", validation_list name.

    Classes have the names in the annotations, or those of their folders where the training images of each class have
    one to themselves, or else their numbers.

    Raises one UserError for all problems of all lists (see `problems.KINDS`), before any image is opened.
    """
    source, problems = find(name, path, photos)
    require_none(name, problems)
    return source


def find(name: str, path: str, photos: Mapping) -> tuple[Source, list[Problem]]:
    """What `read` returns, of the entries that are good, and the problems of the others.

    Raises UserError only where a whole list, or the root, cannot be read.
    """
    root = root_folder(path)

    def missing(paths):
        # Images that are skipped are counted when they are read.
        return bad_files(
            root, paths, allow_outside=photos["allow_outside"], allow_empty=photos["on_bad_image"] == "skip"
        )

    return find_listed(name, photos, missing, lambda paths: Files(root, paths, photos["size"]))


def find_listed(
    name: str,
    photos: Mapping,
    missing: Callable[[Sequence[str]], Iterable[tuple[int, str]]],
    images: Callable[[np.ndarray], EncodedImages],
) -> tuple[Source, list[Problem]]:
    """`find` for listed images that are stored anywhere.

    ``missing(paths)`` returns (position, kind of `problems.KINDS`) of the images that cannot be read, ``images(paths)``
    the images at paths that can. Raises UserError for a list that cannot be read.
    """
    lists = {part: read_list(photos[f"{part}_list"], f"{part}_list") for part in PARTS if photos[f"{part}_list"]}
    train = lists["train"]
    num_classes = _num_classes(train)
    splits = {}
    problems: list[Problem] = []
    for part, listed in lists.items():
        if listed.class_names and train.class_names and listed.class_names != train.class_names:
            raise UserError(f"config.data.photos.{part}_list has other categories than train_list")
        # Test and validation may share images, as those of iNaturalist do; neither may share any with training.
        bad = [*_bad_labels(listed, num_classes), *_duplicates(listed, () if listed is train else (train,))]
        bad += [(position, kind, listed.paths[position]) for position, kind in missing(listed.paths)]
        problems += listed.problems
        problems += [Problem(kind, listed.where(i), text) for i, kind, text in sorted(bad)]
        good = np.setdiff1d(np.arange(len(listed.paths)), [i for i, _, _ in bad])
        splits[part] = Split(images(np.array(listed.paths, object)[good]), listed.labels[good].astype(np.int32))
    for j in np.setdiff1d(np.arange(num_classes), train.labels).tolist():
        problems.append(Problem("class without training image", train.name, f"class {j} of 0..{num_classes - 1}"))
    names = train.class_names or _folder_names(train, num_classes) or tuple(map(str, range(num_classes)))
    return Source(name, splits["train"], splits["test"], names, None, splits.get("validation")), problems


def root_folder(path: str) -> str:
    """``path`` with ~ replaced; UserError unless it is a folder that can be reached."""
    try:
        root = Path(os.path.expanduser(path))
        if root.is_dir():
            return str(root)
    except OSError as error:  # no right to look, too long a name
        reason = error.strerror or error
        raise UserError(f"config.data.path: {path[:200]} cannot be read ({reason}): name another folder") from error
    raise UserError(f"config.data.path: there is no folder {root}")


def read_list(path: str, key: str) -> Entries:
    """The entries of a list, or of annotations where ``path`` ends in .json; in UTF-8, or in UTF-16 or 32 as marked.

    Raises UserError, which names ``key`` of config.data.photos, for a file that is missing, no text or without entry.
    """
    key = f"config.data.photos.{key}"
    with regular_files.opened(path, key) as stream:
        name = os.path.basename(path)
        start = stream.read(4096)
        stream.seek(0)
        text = io.TextIOWrapper(stream, json.detect_encoding(start))  # which ends lines with \r, \n and both
        try:
            if start.count(0) > 3 * len(start) // 4:
                raise UserError(f"{regular_files.shown(path)} is no text")
            listed = annotations.read(text.read, name) if name.lower().endswith(".json") else entries.read(text, name)
        except UnicodeDecodeError as error:
            raise UserError(f"{key}: {regular_files.shown(path)} is no text in UTF-8 ({error})") from error
        except UserError as error:
            raise UserError(f"{key}: {error}") from error.__cause__
    if not listed.paths and not listed.problems:
        raise UserError(f"{key}: {regular_files.shown(path)} is empty")
    return listed


def _num_classes(train: Entries) -> int:
    if train.class_names:
        return len(train.class_names)
    # C classes need C images: a larger label is a mistake, and must not allocate gigabytes of counts.
    possible = train.labels[train.labels < len(train.labels)]
    return int(possible.max(initial=-1)) + 1


def _bad_labels(listed: Entries, num_classes: int) -> Iterator[tuple[int, str, str]]:
    """(position, kind, message) of the entries whose label is too large."""
    for i in np.flatnonzero(listed.labels >= num_classes).tolist():
        yield i, "bad label", f"{listed.labels[i]} of {listed.paths[i]} is outside 0..{num_classes - 1}"


def _duplicates(listed: Entries, earlier_lists: tuple[Entries, ...]) -> Iterator[tuple[int, str, str]]:
    """(position, kind, message) of entries whose path stands in ``earlier_lists`` or earlier in ``listed``."""
    all_lists = (*earlier_lists, listed)
    # Hashes take a tenth of the memory of the paths themselves; few are alike.
    hashes = [np.fromiter((hash(posixpath.normpath(path)) for path in part.paths), np.int64) for part in all_lists]
    values, counts = np.unique(np.concatenate(hashes), return_counts=True)
    repeated = values[counts > 1]
    first: dict[str, tuple[Entries, int]] = {}
    for part, path_hashes in zip(all_lists, hashes, strict=True):
        for i in np.flatnonzero(np.isin(path_hashes, repeated)).tolist():
            path = part.paths[i]
            other, position = first.setdefault(posixpath.normpath(path), (part, i))
            if part is listed and (other is not part or position != i):
                yield i, "duplicate", f"{path} stands in {other.where(position)} already"


def _folder_names(train: Entries, num_classes: int) -> tuple[str, ...]:
    """Names of the folders that classes have to themselves, or () unless each class has one, of a name of its own."""
    folders: list[str | None] = [None] * num_classes
    for path, label in zip(train.paths, train.labels.tolist(), strict=True):
        if label < num_classes:
            folder = posixpath.dirname(path)
            if folders[label] is None:
                folders[label] = folder
            elif folders[label] != folder:
                return ()
    names = [posixpath.basename(class_folder) for class_folder in folders if class_folder is not None]
    return tuple(names) if len(set(names)) == num_classes and all(names) else ()
