"""Walking through the folders of a data set, with an account of everything in them that is no image of it."""

import collections
import os
from collections.abc import Iterator
from pathlib import Path

from gcl_jax.data import clutter
from gcl_jax.data.problems import SHOWN, Problem
from gcl_jax.data.walk import SUFFIXES, Listing, folder_id, list_folder, shortened, walk
from gcl_jax.errors import UserError

# Suffixes of photographs that gcl_jax does not read.
OTHER_IMAGES = (
    ".heic", ".heif", ".avif", ".tif", ".tiff", ".jfif", ".jpe", ".jp2", ".jxl", ".ppm", ".pgm", ".tga", ".psd",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
)  # fmt: skip


class Survey:
    """Reads folders below ``root``; all paths, of arguments and results, are relative to it.

    ``problems`` collects whatever may hide images; ``nested`` one image of each class with images in folders inside its
    folder. Links out of ``root`` are followed with ``allow_outside``.
    """

    def __init__(self, root: str, *, allow_outside: bool):
        self.problems: list[Problem] = []
        self.nested: list[str] = []
        self._root, self._allow_outside, self._top = root, allow_outside, os.path.realpath(root)
        self._listings: dict[str, Listing] = {}
        self._counted: set[str] = set()
        self._clutter: collections.Counter[str] = collections.Counter()
        self._ignored: dict = {}
        self._repeated_folders: list = []

    def listing(self, folder: str) -> Listing:
        """The entries of ``folder``; UserError where it cannot be read."""
        if folder not in self._listings:
            path = os.path.join(self._root, folder) if folder else self._root
            try:
                self._listings[folder] = list_folder(path)
            except OSError as error:
                raise UserError(
                    f"config.data.path: {shortened(path)} cannot be read ({error.strerror or error}): make it readable "
                    "to this user, or take it out"
                ) from error
        return self._listings[folder]

    def class_folders(self, part: str) -> list[str]:
        """The folders in ``part``, one a class."""
        listing = self.listing(part)
        if part not in self._counted:
            self._counted.add(part)
            self._count_rest(part, part, listing)
        return listing.folders

    def images(self, part: str, class_name: str) -> list[str]:
        """The images directly in a class's folder, in order; the first one in a folder inside it goes to `nested`."""
        folder = os.path.join(part, class_name)
        path = os.path.join(self._root, folder)
        outside = not self._is_inside(path)

        def enter(below):
            if outside or (os.path.islink(below) and not self._is_inside(below)):
                self.problems.append(Problem("outside the root", part or ".", self._relative(below)))
                return False
            return True

        # A link to a folder above the class is a cycle, not a class in a class.
        above = {folder_id(os.path.join(self._root, part_of_root)) for part_of_root in ("", part)}
        listed = []
        for where, listing in walk(path, seen=above, enter=enter):
            relative = self._relative(where)
            if listing is None:
                self._repeated_folders.append(relative)
            elif isinstance(listing, OSError):
                reason = f"{shortened(relative)} ({listing.strerror or listing})"
                self.problems.append(Problem("unreadable", part or ".", reason))
            else:
                self._count(part, relative, listing)
                images = [f"{relative}/{name}" for name in listing.images]
                if where == path:
                    listed = images
                elif images:
                    self.nested.append(images[0])
                    break
        return listed

    def left_out(self) -> Iterator[str]:
        """Lines on what is left out: other programs' files, names that are no image's, links to folders read before."""
        if self._clutter:
            names = [f"{name!r} {number:,}" for name, number in self._clutter.most_common(SHOWN)]
            more = len(self._clutter) - len(names)
            names += [f"{more:,} more names"] if more else []
            total = self._clutter.total()
            yield f"{total:,} {_plural('entry', total)} of other programs left out, no data: {', '.join(names)}"
        if self._ignored:
            total = sum(number for number, _ in self._ignored.values())
            kinds = sorted(self._ignored.items(), key=lambda item: -item[1][0])[:SHOWN]
            counts = [f"{suffix} {number:,} (such as {first}){_hint(suffix)}" for suffix, (number, first) in kinds]
            yield (
                f"{total:,} {_plural('file', total)} ignored, whose names do not end in {', '.join(SUFFIXES)}: "
                f"{', '.join(counts)}"
            )
        if self._repeated_folders:
            total = len(self._repeated_folders)
            example = self._repeated_folders[0]
            yield f"{total:,} {_plural('link', total)} to folders read before ignored, such as {example}"

    def _count(self, part: str, folder: str, listing: Listing) -> None:
        self._count_rest(part, folder, listing)
        for name in listing.others:
            suffix = os.path.splitext(name)[1].lower() or "no suffix"
            number, first = self._ignored.get(suffix, (0, shortened(f"{folder}/{name}")))
            self._ignored[suffix] = number + 1, first

    def _count_rest(self, part: str, folder: str, listing: Listing) -> None:
        self._clutter.update(map(clutter.title, listing.clutter))
        for name, kind in listing.problems:
            self.problems.append(Problem(kind, part or ".", shortened(os.path.join(folder, name))))

    def _is_inside(self, path: str) -> bool:
        return self._allow_outside or Path(os.path.realpath(path)).is_relative_to(self._top)

    def _relative(self, path: str) -> str:
        return Path(path).relative_to(self._root).as_posix()


def _hint(suffix: str) -> str:
    return ": images, to be converted to JPEG or PNG" if suffix in OTHER_IMAGES else ""


def _plural(word: str, number: int) -> str:
    if number == 1:
        return word
    return word[:-1] + "ies" if word.endswith("y") else word + "s"
