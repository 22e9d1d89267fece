"""The files of a checkpoint and their checksums, which tell a damaged one from one that cannot be read just now.

The list is written into the checkpoint's folder by the save that makes it, and looked at only where reading failed.
Checkpoints of older versions have no list, nor have those in object stores (gs://), which keep checksums of their own.
"""

import json
import zlib
from collections.abc import Iterator

from etils import epath

NAME = "files.json"
_READ_SIZE = 1 << 20  # bytes


def write(folder: epath.Path) -> None:
    """List the files of the items in ``folder``; beside them lies only what Orbax notes about the save."""
    if "://" in str(folder):
        return
    items = [path for path in folder.iterdir() if path.is_dir()]
    listed = {str(file.relative_to(folder)): _checksum(file) for item in items for file in _files(item)}
    (folder / NAME).write_text(json.dumps({"files": listed, "crc32": _list_checksum(listed)}))


def find_change(folder: epath.Path) -> str | None:
    """The first file in ``folder`` that is not as it was listed, in words; "" if all are, None if there is no list.

    Raises OSError where a file cannot be read, or the folder is gone.
    """
    folder.stat()
    try:
        content = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None
    try:
        listed = json.loads(content)
        files = listed["files"]
        if listed["crc32"] != _list_checksum(files):
            return f"{NAME} is not what was saved"
    except (ValueError, LookupError, TypeError):
        return f"{NAME} is not what was saved"
    for name, checksum in files.items():
        try:
            if _checksum(folder / name) != checksum:
                return f"{name} is not what was saved"
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return f"{name} is missing"
    return ""


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _checksum(file: epath.Path) -> list[int]:
    """[CRC-32, size in bytes] of a file."""
    crc = size = 0
    with file.open("rb") as stream:
        while part := stream.read(_READ_SIZE):
            crc, size = zlib.crc32(part, crc), size + len(part)
    return [crc, size]


def _list_checksum(files: dict) -> int:
    return zlib.crc32(json.dumps(files, sort_keys=True).encode())
