"""JSON files of ours: whole or not there, checked when they are read; and short digests of what could be one."""

import hashlib
import json

from etils import epath

from gcl_jax.errors import UserError, writing


def write(path: epath.Path, value: object) -> None:
    """Write JSON so that a reader sees the whole file or the old one, never a part; UserError if that fails."""
    temporary = path.parent / f".{path.name}.tmp"
    with writing(path):
        temporary.write_text(json.dumps(value, indent=1, default=list, allow_nan=False) + "\n")
        temporary.replace(path)


def read(path: epath.Path, *keys: str) -> dict:
    """The object in a JSON file of ours, which has ``keys``; UserError when the file is damaged."""
    cure = "remove it to have it written again"
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): {cure}") from error
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path} is damaged (it holds no object): {cure}")
    if missing := [key for key in keys if key not in found]:
        raise UserError(f"{path} is damaged (it has no {missing[0]}): {cure}")
    return found


def digest(value: object, length: int) -> str:
    """The first ``length`` hexadecimal digits of the SHA-256 of ``value`` as JSON, whatever the order of its keys.

    >>> digest({"a": (1,), "b": 2}, 4) == digest({"b": 2, "a": [1]}, 4)
    True
    """
    text = json.dumps(value, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
