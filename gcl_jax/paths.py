"""Paths that a user names, taken as they are written: `run[1]` is a name, not a pattern."""

import fnmatch
import os
from collections.abc import Iterator

from etils import epath
from etils.epath import gpath

from gcl_jax.errors import UserError


def given(path: str | os.PathLike) -> epath.Path:
    """The absolute path that a user means by ``path``: a leading ~ is the home folder, but ./~ a folder of that name.

    Raises UserError for the character that no name can have.

    >>> given("/runs/run[1]")
    PosixGPath('/runs/run[1]')
    """
    if "\0" in os.fspath(path):
        raise UserError(f"{os.fspath(path)!r} holds the character \\0, which no file's name has")
    return epath.Path(os.path.expanduser(path)).absolute()


def done_file(folder: epath.Path, stage: str) -> epath.Path:
    """The file in a run's folder whose presence says that ``stage`` is finished; written last."""
    return folder / stage / "DONE.json"


def matching(folder: epath.Path, pattern: str) -> list[epath.Path]:
    """What lies below ``folder`` and matches ``pattern``, name by name between slashes, sorted.

    Only ``pattern`` is one: epath's own glob, and glob.glob, take `[1]` in the folder's path for one, too. As there,
    * is no hidden name. A folder that is not there holds nothing; one that cannot be read is a UserError.
    """
    matches = [folder]
    for names in pattern.split("/"):
        matches = [path for parent in matches for path in _children(parent, names)]
    return matches


def _children(folder: epath.Path, names: str) -> list[epath.Path]:
    if not set(names) & set("*?["):
        return [folder / names] if (folder / names).exists() else []
    try:
        if not folder.is_dir():
            return []
        there = sorted(folder.iterdir())
    except FileNotFoundError:  # removed in the meantime
        return []
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror or error}): see to its rights") from error
    hidden = names.startswith(".")
    return [path for path in there if fnmatch.fnmatchcase(path.name, names) and path.name.startswith(".") == hidden]


class LiteralPath(gpath.PosixGPath):
    """A path, local or gs://, for libraries that glob below it: the names in it are no pattern to them either.

    >>> LiteralPath("/runs/run[1]") / "checkpoints"
    LiteralPath('/runs/run[1]/checkpoints')
    """

    def glob(self, pattern: str) -> Iterator["LiteralPath"]:
        """`matching`, as an iterator."""
        return iter(matching(self, pattern))
