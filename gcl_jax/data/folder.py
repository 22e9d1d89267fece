"""Photographs by folder: one folder for each class, sorted by name."""

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
    before any long-tailed cut. Images are known by their names (`walk.SUFFIXES`); other files, and what other programs
    leave (`clutter`), are no data. What is left out and held out is said.

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
    splits, problems = {}, list(_twice(class_names, parts["train"]))
    for part, folder in parts.items():
        there = survey.class_folders(folder)
        problems += _unknown(there, class_names, folder)
        paths, labels = [], []
        for label, class_name in enumerate(class_names):
            if class_name in there:
                images = survey.images(folder, class_name)
                paths += images
                labels += [label] * len(images)
        allowed = {"allow_outside": photos["allow_outside"], "empty": photos["on_bad_image"] == "skip"}
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
        kept, held = longtail.hold_out(train.labels, TEST_FRACTION, 0, at_least=1)
        splits |= {"train": train.take(kept), "test": train.take(held)}
        message = (
            f"; {len(held):,} of {len(train):,} images, a fifth of each class, held out as test"
            if len(held)
            else ", and no class has a second image that could be held out as test: add images, or a test folder"
        )
        logs.log_info(f"{root}: no test folder{message}")
    source = Source(name, splits["train"], splits["test"], class_names, None, splits.get("validation"))
    return source, survey.problems + problems


def _class_names(root, train, survey):
    names, where = tuple(survey.class_folders(train)), os.path.join(root, train)
    if not names:
        raise UserError(f"config.data.path: {where} has no folders; make one for each class")
    if len(names) == 1:
        raise UserError(
            f"config.data.path: {where} has one folder, {names[0]}, so one class: name the folder that holds the "
            "classes, or make a folder for each"
        )
    return names


def _twice(class_names: Sequence[str], train: str) -> Iterator[Problem]:
    """Names of classes that differ only in how Unicode spells an accent, as copies from a Mac may."""
    first: dict[str, str] = {}
    for name in class_names:
        other = first.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            yield Problem("class that is there twice", train or ".", f"{name} ({other!a} and {name!a})")


def _unknown(there: Sequence[str], class_names: Sequence[str], folder: str) -> Iterator[Problem]:
    known = {_folded(name): name for name in class_names}
    for name in sorted({*there} - {*class_names}):
        like = known.get(_folded(name))
        message = f" (training has {like!a}, this is {name!a})" if like else ""
        yield Problem("class unknown to training", folder, name + message)


def _folded(name):
    return unicodedata.normalize("NFC", name).casefold()


def _is_utf8(path):
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
