"""The files of configs/, one a data set: where they are, and which of them --config=FILE:ROW,... means."""

import re
from pathlib import Path

import gcl_jax
from gcl_jax.errors import UserError, cut, did_you_mean
from gcl_jax.recipes import RECIPES

_PACKAGE = Path(gcl_jax.__file__).parent


def folder() -> Path:
    """Where they are: inside the package where it is installed, beside it in a clone of the repository."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """The data sets that have one.

    >>> "cifar10_lt" in names()
    True
    """
    return sorted(path.stem for path in folder().glob("*.py"))


def resolve(text: str) -> str:
    """What ``text`` of --config=TEXT names, a file and perhaps its arguments, as a path that is there.

    A file that is there is itself. ``cifar10_lt:gcl,100`` and, where there is no such file,
    ``configs/cifar10_lt.py:gcl,100`` and ``gcl_jax/configs/cifar10_lt.py:gcl,100`` are the package's own. Raises
    UserError with the new form for one of the files that there once was for every row; others come back as they are.

    >>> resolve("somewhere/mine.py:100")
    'somewhere/mine.py:100'
    """
    path, colon, arguments = text.partition(":")
    match = re.fullmatch(r"(\w+)|(?:gcl_jax/)?configs/(\w+)\.py", path)
    name = match and (match[1] or match[2])
    try:
        there = Path(path).exists()
    except (OSError, ValueError):  # a name that is too long, or none that a file can have
        return text
    if Path(path).is_file() or not path:
        return text
    if name in names():
        return f"{folder() / name}.py{colon}{arguments}"
    if name and not there:
        raise UserError(
            f"--config={cut(text)}: there is no file {cut(path)}{did_you_mean(name, names())}; those of the package "
            f"are {', '.join(names())}, as in --config=cifar10_lt:gcl,100"
        )
    old = re.fullmatch(r"((?:.*/)?)(\w+)/(\w+)\.py", path)
    if old and old[2] in names() and old[3] in RECIPES:
        now = f"{old[1]}{old[2]}.py:{old[3]}" + (f",{arguments}" if arguments else "")
        raise UserError(f"--config={cut(text)} is --config={now} now: one file a data set, which takes the row")
    return text
