"""Which of many paths are files with something in them, below one root."""

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

THREADS = 16  # for file systems across a network, where each look waits; a local one takes 4 s for 437,513 files


def bad_files(
    root: str, paths: Sequence[str], *, allow_outside: bool = False, empty: bool = False
) -> Iterator[tuple[int, str]]:
    """(position, kind of `problems.KINDS`) of each path that is no readable, non-empty file below ``root``.

    Paths that are absolute, contain ``..`` or reach out of ``root`` by a link are "outside the root" and not looked at;
    ``allow_outside`` allows them, ``empty`` files without content. ``root`` itself may be a link, and links may lead
    anywhere below it.
    """
    folders = {}
    for position, path in enumerate(paths):
        if not allow_outside and (os.path.isabs(path) or ".." in path.split("/")):
            yield position, "outside the root"
        else:
            folders.setdefault(os.path.dirname(path), []).append(position)
    top = None if allow_outside else os.path.realpath(root)

    def look(folder):
        # Resolving links costs as much as ten looks at a file: once a folder, then only for what is a link itself.
        if top is not None and not _below(os.path.join(root, folder), top):
            return [(position, "outside the root") for position in folders[folder]]
        return [(i, kind) for i in folders[folder] if (kind := _kind(os.path.join(root, paths[i]), top))]

    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(look, folders):
            yield from (one for one in found if not (empty and one[1] == "empty file"))


def _below(path, top):
    try:
        return os.path.commonpath([os.path.realpath(path), top]) == top
    except ValueError:  # a null byte in the path
        return False


def _kind(path, top):
    try:
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            if top is not None and not _below(path, top):
                return "outside the root"
            info = os.stat(path)
    except PermissionError:
        return "unreadable"
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return "missing"
    if not stat.S_ISREG(info.st_mode):
        return "missing"
    return None if info.st_size else "empty file"
