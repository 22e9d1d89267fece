"""Listing folders of images: every entry is accounted for, and every real folder is entered once."""

import dataclasses
import os
from collections.abc import Callable, Collection, Iterator

from gcl_jax.data.clutter import is_clutter

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
MAX_PATH = 200  # characters of a path in a message


@dataclasses.dataclass
class Listing:
    """The names in one folder by their kind, each kind sorted.

    ``images`` are files, or links that lead nowhere, with one of `SUFFIXES`; ``clutter`` belongs to other programs;
    ``problems`` are (name, kind of `problems.KINDS`) of entries that cannot be read and may be, or hold, images.
    """

    folders: list[str] = dataclasses.field(default_factory=list)
    images: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    clutter: list[str] = dataclasses.field(default_factory=list)
    problems: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def list_folder(path: str) -> Listing:
    """The entries of the folder ``path``; OSError where it cannot be read."""
    listing = Listing()
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            _add(listing, entry)
    return listing


def _add(listing: Listing, entry: os.DirEntry) -> None:
    name = entry.name
    if is_clutter(name):
        listing.clutter.append(name)
        return
    is_image = name.lower().endswith(SUFFIXES)
    try:
        if entry.is_dir():
            listing.folders.append(name)
        elif entry.is_file() or (entry.is_symlink() and is_image and not os.path.exists(entry.path)):
            (listing.images if is_image else listing.others).append(name)
        elif entry.is_symlink() and not os.path.exists(entry.path):
            listing.problems.append((name, "missing"))  # it may have led to a folder of images
        elif is_image:
            listing.problems.append((name, "no regular file"))
        else:
            listing.others.append(name)
    except OSError as error:  # a link onto itself, or one through a folder that cannot be searched
        listing.problems.append((name, "unreadable" if isinstance(error, PermissionError) else "missing"))


def walk(
    top: str, *, seen: Collection[tuple] = (), enter: Callable[[str], bool] = lambda path: True
) -> Iterator[tuple[str, Listing | OSError | None]]:
    """(path, its `Listing`) of ``top`` and of every folder below it, depth first, links followed.

    An OSError stands for a folder that cannot be read, None for one that was met before, as links round and round are,
    or whose `folder_id` is among ``seen``. Folders of which ``enter(path)`` is false are left out.
    """
    seen, waiting = set(seen), [top]
    while waiting:
        path = waiting.pop()
        try:
            path_id = folder_id(path)
            listing = None if path_id in seen else list_folder(path)
        except OSError as error:
            yield path, error
            continue
        seen.add(path_id)
        yield path, listing
        if listing:
            below = (os.path.join(path, name) for name in reversed(listing.folders))
            waiting += [folder for folder in below if enter(folder)]


def folder_id(path: str) -> tuple[int, int | str]:
    """An id that is equal for all paths to one folder: device and inode, or, on file systems without, the real path.

    OSError where there is no such folder, or it cannot be reached.
    """
    info = os.stat(path)
    return info.st_dev, info.st_ino or os.path.realpath(path)


def shortened(path: str) -> str:
    """A path for a message: its middle left out where it is very long.

    >>> shortened("a/1.jpg"), len(shortened("d/" * 1500 + "1.jpg"))
    ('a/1.jpg', 201)
    """
    return path if len(path) <= MAX_PATH else f"{path[: MAX_PATH // 2]}…{path[-MAX_PATH // 2 :]}"
