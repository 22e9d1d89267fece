"""Checks that paths are readable files below one root folder; and reading one."""

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from gcl_jax.data import image_size

THREADS = 16  # for file systems across a network, where each look waits; a local one takes 4 s for 437,513 files


def bad_files(
    root: str, paths: Sequence[str], *, allow_outside: bool = False, allow_empty: bool = False
) -> Iterator[tuple[int, str]]:
    """(position, kind of `problems.KINDS`) of each path that is no readable, non-empty file below ``root``.

    Paths that are absolute, contain ``..`` or leave ``root`` by a link are "outside the root" and not opened;
    ``allow_outside`` allows them, and ``allow_empty`` allows files without content. ``root`` itself may be a link, and
    links may lead anywhere below it.
    """
    folders: dict[str, list[int]] = {}
    for position, path in enumerate(paths):
        if not allow_outside and (os.path.isabs(path) or ".." in path.split("/")):
            yield position, "outside the root"
        else:
            folders.setdefault(os.path.dirname(path), []).append(position)
    top = None if allow_outside else os.path.realpath(root)

    def look(folder):
        # Resolving links costs as much as ten looks at a file: once a folder, then only for what is a link itself.
        if top is not None and not is_below(os.path.join(root, folder), top):
            return [(position, "outside the root") for position in folders[folder]]
        return [(i, kind) for i in folders[folder] if (kind := _kind(os.path.join(root, paths[i]), top))]

    with ThreadPoolExecutor(THREADS) as pool:
        for problems in pool.map(look, folders):
            yield from (problem for problem in problems if not (allow_empty and problem[1] == "empty file"))


def is_below(path: str, top: str) -> bool:
    """Whether ``path`` leads into the folder ``top``, a real path, or to it."""
    try:
        return os.path.commonpath([os.path.realpath(path), top]) == top
    except ValueError:  # a null byte in the path
        return False


def _kind(path: str, top: str | None) -> str | None:
    """The kind of problem with the file ``path``; None where there is none."""
    try:
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            if top is not None and not is_below(path, top):
                return "outside the root"
            info = os.stat(path)
    except PermissionError:
        return "unreadable"
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return "missing"
    if stat.S_ISDIR(info.st_mode):
        return "missing"
    if not stat.S_ISREG(info.st_mode):
        return "no regular file"
    return None if info.st_size else "empty file"


def read(path: str | os.PathLike) -> bytes:
    """The content of a regular file.

    Raises OSError, whose text is the reason, where it cannot be read, for a FIFO, a socket and a device, which may have
    no end, and for more bytes than any image has.
    """
    try:
        _require_regular(os.stat(path))  # a device may take its being opened for a command
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _require_regular(os.fstat(file.fileno()))
            return file.read()
    except FileNotFoundError:
        raise OSError("no such file") from None
    except ValueError as error:  # a null byte in the path
        raise OSError(str(error)) from error


def _require_regular(info: os.stat_result) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise OSError("Is a directory")
    if not stat.S_ISREG(info.st_mode):
        raise OSError("no regular file, but a FIFO, a socket or a device")
    if info.st_size > image_size.MAX_BYTES:
        raise OSError(f"too large: {info.st_size:,} bytes")
