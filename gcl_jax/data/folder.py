"""Photographs in folders: one folder for each class, the classes sorted by name."""

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gcl_jax import logs, longtail
from gcl_jax.data import layout
from gcl_jax.data.dataset import Source, Split
from gcl_jax.data.files import Files
from gcl_jax.data.lists import root_folder
from gcl_jax.data.on_disk import bad_files
from gcl_jax.data.problems import Problem, require_none
from gcl_jax.data.survey import Survey
from gcl_jax.errors import UserError

TEST_FRACTION = 0.2  # of each class, where there is no test folder


def read(name: str, path: str, photos: Mapping) -> Source:
    """Images in ``path``/CLASS, or in ``path``/train/CLASS, test/CLASS and, if it is there, val/CLASS.

    Without a test folder a fifth of each class, at least one image, is held out as the test set, always the same and
    before any long-tailed cut. Images are files with one of `walk.SUFFIXES`; other files, and what other programs
    leave (`clutter`), are no data. Log lines say what is left out and held out.

    Raises one UserError for all problems (see `problems.KINDS`), before any image is opened.
    """
    source, problems = find(name, path, photos)
    require_none(name, problems)
    return source


def find(name: str, path: str, photos: Mapping) -> tuple[Source, list[Problem]]:
    """What `read` returns, of the images that are good, and the problems of the others.

    Raises UserError only where ``path`` is not laid out as `read` says.
    """
    root = root_folder(path)
    survey = Survey(root, allow_outside=photos["allow_outside"])
    parts = layout.find(root, survey)
    class_names = _class_names(root, parts["train"], survey)
    splits, problems = {}, list(_duplicate_classes(class_names, parts["train"]))
    for part, folder in parts.items():
        part_classes = survey.class_folders(folder)
        problems += _unknown_classes(part_classes, class_names, folder)
        paths, labels = [], []
        for label, class_name in enumerate(class_names):
            if class_name in part_classes:
                images = survey.images(folder, class_name)
                paths += images
                labels += [label] * len(images)
        allowed = {"allow_outside": photos["allow_outside"], "allow_empty": photos["on_bad_image"] == "skip"}
        bad = dict(bad_files(root, paths, **allowed))
        bad |= {i: "name that is not UTF-8" for i, path in enumerate(paths) if not _is_utf8(path)}
        problems += [Problem(bad[i], folder or ".", paths[i]) for i in sorted(bad)]
        good = np.setdiff1d(np.arange(len(paths)), list(bad))
        files = Files(root, np.array(paths, object)[good], photos["size"])
        splits[part] = Split(files, np.array(labels, np.int32)[good])
        if part == "train":
            present = set(splits[part].labels.tolist())
            empty = [class_name for label, class_name in enumerate(class_names) if label not in present]
            problems += [Problem("class without training image", folder or ".", name) for name in empty]
    layout.require_flat(root, survey)
    for line in survey.left_out():
        logs.log_info(f"{root}: {line}")
    if "test" not in splits:
        train = splits["train"]
        rest, held_out = longtail.hold_out(train.labels, TEST_FRACTION, 0, at_least=1)
        splits |= {"train": train.take(rest), "test": train.take(held_out)}
        message = (
            f"; {len(held_out):,} of {len(train):,} images, a fifth of each class, held out as test"
            if len(held_out)
            else ", and no class has a second image that could be held out as test: add images, or a test folder"
        )
        logs.log_info(f"{root}: no test folder{message}")
    source = Source(name, splits["train"], splits["test"], class_names, None, splits.get("validation"))
    return source, survey.problems + problems


def _class_names(root: str, train: str, survey: Survey) -> tuple[str, ...]:
    names, where = tuple(survey.class_folders(train)), os.path.join(root, train)
    if not names:
        raise UserError(f"config.data.path: {where} has no folders; make one for each class")
    if len(names) == 1:
        raise UserError(
            f"config.data.path: {where} has one folder, {names[0]}, so one class: name the folder that holds the "
            "classes, or make a folder for each"
        )
    return names


def _duplicate_classes(class_names: Sequence[str], train: str) -> Iterator[Problem]:
    """Problems of names that differ only in how Unicode spells an accent, as copies from a Mac may."""
    by_spelling: dict[str, str] = {}
    for name in class_names:
        other = by_spelling.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            yield Problem("class that is there twice", train or ".", f"{name} ({other!a} and {name!a})")


def _unknown_classes(names: Sequence[str], class_names: Sequence[str], folder: str) -> Iterator[Problem]:
    """Problems of those ``names`` that no class of training has."""
    known = {_folded(name): name for name in class_names}
    for name in sorted({*names} - {*class_names}):
        similar = known.get(_folded(name))
        message = f" (training has {similar!a}, this is {name!a})" if similar else ""
        yield Problem("class unknown to training", folder, name + message)


def _folded(name: str) -> str:
    """``name`` without its case and the spelling of its accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
