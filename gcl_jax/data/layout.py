"""The layout of a folder of images: class folders directly in it, or in train, test and val; others are refused."""

import os
from collections.abc import Collection, Iterable

from gcl_jax.data.survey import Survey
from gcl_jax.data.walk import shortened
from gcl_jax.errors import UserError

PARTS = {"train": ("train",), "test": ("test",), "validation": ("val", "validation")}
HINT = (
    "make one folder for each class, with its images directly in it, or keep the folders and name images and labels in "
    "lists (--config.data.source=list)"
)


def find(root: str, survey: Survey) -> dict[str, str]:
    """{part: the folder that holds its class folders}, "" for ``root`` itself.

    Raises UserError for a layout that is neither of the two, or in which images would be lost.
    """
    all_folders, folders = survey.class_folders(""), {}
    split_names = {part: [name for name in all_folders if name.lower() in names] for part, names in PARTS.items()}
    for part, named in split_names.items():
        # A folder of images alone is a class, whatever its name: a train is a vehicle too.
        with_classes = [name for name in named if survey.listing(name).folders]
        if len(with_classes) > 1:
            raise UserError(f"config.data.path: {root} has both {' and '.join(with_classes)}; keep one")
        if with_classes:
            folders[part] = with_classes[0]
    flat = [name for named in split_names.values() for name in named if name not in folders.values()]
    if "train" in folders:
        if others := [name for name in all_folders if name not in folders.values()]:
            raise UserError(
                f"config.data.path: {root} has {others[0]} beside {folders['train']}: either all folders are classes, "
                f"or the classes are folders in train, test and val{_without_classes(others[0], flat)}"
            )
    elif folders:
        raise UserError(
            f"config.data.path: {root} has {next(iter(folders.values()))} but no train, with the classes inside"
        )
    # One that is called train may be a class, but not train and test, nor a test set whose classes nobody tells.
    elif flat and (len(flat) > 1 or flat[0].lower() != "train"):
        raise UserError(
            f"config.data.path: {os.path.join(root, flat[0])} has no folder for each class: as a part of the data it "
            "needs one, and as a class another name"
        )
    else:
        folders = {"train": ""}
    _require_no_image_beside(root, ("", *folders.values()), survey)
    return folders


def _without_classes(name: str, flat: Collection[str]) -> str:
    return f" ({name} has no class folders: make them, or move it away)" if name in flat else ""


def _require_no_image_beside(root: str, folders: Iterable[str], survey: Survey) -> None:
    """Raise UserError if images lie beside class folders, and so in no class."""
    for folder in folders:
        listing = survey.listing(folder)
        if listing.images and listing.folders:
            first, number = os.path.join(folder, listing.images[0]), len(listing.images)
            message = f"{number:,} images lie, such as {first}" if number > 1 else f"the image {first} lies"
            raise UserError(
                f"config.data.path: in {root} {message}, beside the folders and so in no class: move it into its "
                "class's folder, or away"
            )


def require_flat(root: str, survey: Survey) -> None:
    """Raise UserError if images lie in folders inside class folders: one of the two would be lost as a class."""
    if survey.nested:
        example, number = survey.nested[0], len(survey.nested)
        folders = "folders of images" if number > 1 else "a folder of images"
        held = f"{number:,} class folders hold {folders}" if number > 1 else f"one class folder holds {folders}"
        raise UserError(
            f"config.data.path: in {root} {held}, such as {shortened(example)}: which folder is the class cannot be "
            f"told; {HINT}"
        )
