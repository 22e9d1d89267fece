"""Photographs by folder: one folder for each class, sorted by name."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gcl_jax import longtail
from gcl_jax.data.dataset import Source, Split
from gcl_jax.data.files import Files
from gcl_jax.data.lists import root_folder
from gcl_jax.data.on_disk import bad_files
from gcl_jax.data.problems import Problem, require_none
from gcl_jax.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
PARTS = {"train": ("train",), "test": ("test",), "validation": ("val", "validation")}
TEST_FRACTION = 0.2  # of each class, where there is no test folder


def read(name: str, path: str, photos: Mapping) -> Source:
    """Images below ``path``/CLASS, or below ``path``/train/CLASS, test/CLASS and, if it is there, val/CLASS.

    Without a test folder a fifth of each class, at least one image, is held out as the test set, always the same and
    before any long-tailed cut. Images are known by their names (`SUFFIXES`); other files are ignored. What is ignored
    and held out is printed.

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
    layout = _layout(root)
    class_names = _folders(os.path.join(root, layout["train"]))
    if not class_names:
        raise UserError(
            f"config.data.path: {os.path.join(root, layout['train'])} has no folders; make one for each class"
        )
    if len(class_names) == 1:
        raise UserError(
            f"config.data.path: {os.path.join(root, layout['train'])} has one folder, {class_names[0]}, so one class: "
            "name the folder that holds the classes, or make a folder for each"
        )
    splits, problems, ignored = {}, [], 0
    for part, folder in layout.items():
        for other in sorted({*_folders(os.path.join(root, folder))} - {*class_names}):
            problems.append(Problem("class unknown to training", folder, other))
        paths, labels = [], []
        for label, class_name in enumerate(class_names):
            found, others = _images(root, os.path.join(folder, class_name))
            paths += found
            labels += [label] * len(found)
            ignored += others
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
    if ignored:
        print(f"{root}: {ignored:,} files ignored, whose names do not end in {', '.join(SUFFIXES)}")
    if "test" not in splits:
        train = splits["train"]
        kept, held = longtail.hold_out(train.labels, TEST_FRACTION, 0, at_least=1)
        splits |= {"train": train.take(kept), "test": train.take(held)}
        print(
            f"{root}: no test folder; {len(held):,} of {len(train):,} images, a fifth of each class, held out as test"
        )
    return Source(name, splits["train"], splits["test"], class_names, None, splits.get("validation")), problems


def _layout(root):
    there = _folders(root)
    found = {}
    for part, names in PARTS.items():
        # A folder of images alone is a class, whatever its name: a train is a vehicle too.
        named = [name for name in there if name.lower() in names and _folders(os.path.join(root, name))]
        if len(named) > 1:
            raise UserError(f"config.data.path: {root} has both {' and '.join(named)}; keep one")
        if named:
            found[part] = named[0]
    if "train" in found:
        others = [name for name in there if name not in found.values()]
        if others:
            raise UserError(
                f"config.data.path: {root} has {others[0]} beside train: either all folders are classes, or the "
                "classes are folders in train, test and val"
            )
        return found
    if found:
        raise UserError(
            f"config.data.path: {root} has {next(iter(found.values()))} but no train, with the classes inside"
        )
    return {"train": ""}


def _folders(path):
    return tuple(sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith(".")))


def _images(root, folder):
    """Images below a folder, at any depth, relative to ``root``, and the number of other files."""
    found, others = [], 0
    if os.path.isdir(os.path.join(root, folder)):
        for where, inside, names in os.walk(os.path.join(root, folder), followlinks=True):
            inside[:] = [name for name in inside if not name.startswith(".")]  # thumbnails and copies that tools keep
            endless = [name for name in inside if _leads_back(os.path.join(where, name))]
            inside[:] = [name for name in inside if name not in endless]
            others += len(endless)
            images = [n for n in names if n.lower().endswith(SUFFIXES) and not n.startswith(".")]
            others += len(names) - len(images)
            found += [Path(where, name).relative_to(root).as_posix() for name in images]
    return sorted(found), others


def _leads_back(folder):
    """Whether a folder is a link to one on the way to it."""
    return os.path.islink(folder) and os.path.realpath(folder) in map(os.path.realpath, Path(folder).parents)


def _is_utf8(path):
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
