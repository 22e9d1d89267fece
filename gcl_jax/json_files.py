"""JSON files of ours: whole or not there, checked when they are read; and short digests of what could be one."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping

from etils import epath

from gcl_jax import json_shape
from gcl_jax.errors import UserError, reading
from gcl_jax.replacing import replacing


def write(path: epath.Path, value: object) -> None:
    """Write JSON so that a reader sees the whole file or the old one, never a part; UserError if that fails."""
    text = json.dumps(value, indent=1, default=list, allow_nan=False) + "\n"
    with replacing(path) as new:
        new.write_text(text)


def read(path: epath.Path, *keys: str, shape: Mapping | None = None) -> dict:
    """The object in a JSON file of ours, which has ``keys`` and is of ``shape`` (see `json_shape`).

    Raises UserError that names the file when it cannot be read, is no regular file, or holds something else.
    """
    content = regular_bytes(path)
    try:
        content_read = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(content_read, dict) or not content_read:
        raise damaged(path, "it holds no object")
    if message := json_shape.mismatch(content_read, {**dict.fromkeys(keys, object), **(shape or {})}):
        raise damaged(path, message)
    return content_read


def damaged(path: epath.Path, reason: str) -> UserError:
    """What to raise where a file of ours holds something else than it should."""
    hint = "remove it to have it written again"
    if path.name == "config.json":  # without which nobody knows whose checkpoints lie there
        hint = "put back the one of the run, and do not remove it"
    return UserError(f"{path} is damaged ({reason}): {hint}")


def regular_bytes(path: epath.Path) -> bytes:
    """The content of a file; UserError where it cannot be read, or is a folder, a device or an endless pipe."""
    with reading(path):
        if "://" not in str(path) and not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return path.read_bytes()


def digest(value: object, length: int) -> str:
    """The first ``length`` hexadecimal digits of the SHA-256 of ``value`` as JSON, whatever the order of its keys.

    >>> digest({"a": (1,), "b": 2}, 4) == digest({"b": 2, "a": [1]}, 4)
    True
    """
    text = json.dumps(value, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
