"""Photographs in a pack, as `python -m gcl_jax.data pack` writes it: ArrayRecord files and an index."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gcl_jax import logs, regular_files
from gcl_jax.data import pack_index, records
from gcl_jax.data.dataset import Source, Split
from gcl_jax.data.on_disk import bad_files
from gcl_jax.data.problems import Problem, first_lines, require_none
from gcl_jax.errors import UserError
from gcl_jax.typing import Json

INDEX = "index.json"  # written last: where it is, the pack is whole
FORMAT, VERSION = "gcl_jax pack", 1
HINT = "pack the data again into a new folder"


def read(name: str, path: str, photos: Mapping) -> Source:
    """The images of the pack in the folder ``path``, in the order and with the labels that were packed.

    Raises UserError where there is no pack, or one of another version, and for shards that are missing, cut or, unless
    ``photos`` allow it, outside the folder. Other damage fails a record's checksum when it is read.
    """
    root = Path(os.path.expanduser(path))
    index = read_index(root)
    if not photos["allow_outside"]:
        _require_inside(name, root, index)
    _require_whole(root, index)
    splits = {part: _split(root, index, part, photos["size"]) for part in index["splits"]}
    skipped = {part: split["skipped"] for part, split in index["splits"].items() if split["skipped"]}
    names = tuple(index["class_names"])
    return Source(name, splits["train"], splits["test"], names, None, splits.get("validation"), skipped)


def read_index(root: Path) -> dict[str, Json]:
    """The index of the pack in ``root``; UserError where there is none that this version reads."""
    file = root / INDEX
    if not os.path.lexists(file):
        raise UserError(
            f"config.data.path: {root} holds no pack ({INDEX} is missing; a pack that was stopped has none, and is "
            "started again with python -m gcl_jax.data pack)"
        )
    with regular_files.opened(file, "config.data.path") as stream:
        content = stream.read()
    try:
        index = json.loads(content)
        version = index["version"] if index["format"] == FORMAT else None
        if type(version) is not int:
            version = None
        if version == VERSION and not pack_index.require_sound(index):
            logs.log_info(
                f"note: {file} has no checksum, for an older gcl_jax wrote it: what has changed in it since cannot be "
                "told; packed again it has one"
            )
    except KeyError as error:
        raise UserError(f"{file} is damaged (it has no {error}): {HINT}") from error
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error)[:200]
        raise UserError(f"{file} is damaged ({reason}): {HINT}") from error
    if version != VERSION:
        raise UserError(f"{file} is of version {str(version)[:20]}, and this gcl_jax reads version {VERSION}: {HINT}")
    return index


def _shards(index: Mapping[str, Json]) -> list[tuple[str, int]]:
    """(file's name, bytes) of every shard."""
    return [(shard["file"], shard["bytes"]) for split in index["splits"].values() for shard in split["shards"]]


def _require_inside(name: str, root: Path, index: Mapping[str, Json]) -> None:
    shards = [file for file, _ in _shards(index)]
    outside = "outside the root"
    outside_shards = [shards[i] for i, kind in bad_files(str(root), shards) if kind == outside]
    require_none(name, [Problem(outside, INDEX, shard) for shard in outside_shards])


def _require_whole(root: Path, index: Mapping[str, Json]) -> None:
    wrong = []
    for name, size in _shards(index):
        file = root / name
        if not os.path.isfile(file):
            wrong.append(f"{file} is no regular file" if os.path.exists(file) else f"{file} is missing")
        elif (actual_size := file.stat().st_size) != size:
            wrong.append(f"{file} has {actual_size:,} bytes instead of {size:,}")
        elif not os.access(file, os.R_OK):
            wrong.append(f"{file} cannot be read: see to its permissions")
    if wrong:
        lines = "".join(f"\n  {line}" for line in first_lines(wrong))
        raise UserError(f"the pack in {root} is damaged: {HINT}, or copy it again{lines}")


def _split(root: Path, index: Mapping[str, Json], part: str, size: int) -> Split:
    split = index["splits"][part]
    files = [(str(root / shard["file"]), shard["images"]) for shard in split["shards"]]
    resized = f"shorter side {index['shorter']}, JPEG {index['quality']}" if split["resized"] else ""
    images = records.Records(
        records.open_shards(files),
        np.array(split["paths"], object),
        np.arange(len(split["paths"])),
        size,
        str(root),
        HINT,
        change="; ".join(filter(None, (split.get("change", ""), resized))),
    )
    return Split(images, np.array(split["labels"], np.int32))
