"""Photographs in a pack, as `python -m gcl_jax.data pack` writes it: ArrayRecord files and an index."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gcl_jax.data import records
from gcl_jax.data.dataset import Source, Split
from gcl_jax.data.on_disk import bad_files
from gcl_jax.data.problems import Problem, first, require_none
from gcl_jax.errors import UserError

INDEX = "index.json"  # written last: where it is, the pack is whole
FORMAT, VERSION = "gcl_jax pack", 1
CURE = "pack the data again into a new folder"


def read(name: str, path: str, photos: Mapping) -> Source:
    """The images of the pack in the folder ``path``, in the order and with the labels of what was packed.

    Raises UserError where there is no pack, or one of another version, and for shards that are missing, cut or, unless
    ``photos`` allow it, outside the folder; what else is damaged fails its checksum when it is read.
    """
    root = Path(path).expanduser()
    index = read_index(root)
    if not photos["allow_outside"]:
        _require_inside(name, root, index)
    _require_whole(root, index)
    splits = {part: _split(root, index, part, photos["size"]) for part in index["splits"]}
    skipped = {part: split["skipped"] for part, split in index["splits"].items() if split["skipped"]}
    names = tuple(index["class_names"])
    return Source(name, splits["train"], splits["test"], names, None, splits.get("validation"), skipped)


def read_index(root: Path) -> dict[str, Any]:
    """The index of the pack in ``root``; UserError where there is none that this version reads."""
    file = root / INDEX
    if not file.is_file():
        raise UserError(
            f"config.data.path: {root} holds no pack ({INDEX} is missing; a pack that was stopped has none, and is "
            "started again with python -m gcl_jax.data pack)"
        )
    try:
        index = json.loads(file.read_bytes())
        version = index["version"] if index["format"] == FORMAT else None
        if version == VERSION:
            _shards(index)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error}): {CURE}") from error
    if version != VERSION:
        raise UserError(f"{file} is of version {version}, and this gcl_jax reads version {VERSION}: {CURE}")
    return index


def _shards(index: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(file's name, bytes) of every shard."""
    shards = [(shard["file"], shard["bytes"]) for split in index["splits"].values() for shard in split["shards"]]
    if not all(isinstance(file, str) and isinstance(size, int) for file, size in shards):
        raise TypeError("a shard without a name or a size")
    return shards


def _require_inside(name: str, root: Path, index: Mapping[str, Any]) -> None:
    shards = [file for file, _ in _shards(index)]
    outside = "outside the root"
    found = [shards[i] for i, kind in bad_files(str(root), shards) if kind == outside]
    require_none(name, [Problem(outside, INDEX, shard) for shard in found])


def _require_whole(root: Path, index: Mapping[str, Any]) -> None:
    wrong = []
    for name, size in _shards(index):
        file = root / name
        if not file.is_file():
            wrong.append(f"{file} is missing")
        elif (found := file.stat().st_size) != size:
            wrong.append(f"{file} has {found:,} bytes instead of {size:,}")
    if wrong:
        lines = "".join(f"\n  {line}" for line in first(wrong))
        raise UserError(f"the pack in {root} is damaged: {CURE}, or copy it again{lines}")


def _split(root: Path, index: Mapping[str, Any], part: str, size: int) -> Split:
    split = index["splits"][part]
    files = [(str(root / shard["file"]), shard["images"]) for shard in split["shards"]]
    resized = f"shorter side {index['shorter']}, JPEG {index['quality']}" if split["resized"] else ""
    images = records.Records(
        records.open_shards(files),
        np.array(split["paths"], object),
        np.arange(len(split["paths"])),
        size,
        str(root),
        CURE,
        change="; ".join(filter(None, (split.get("change", ""), resized))),
    )
    return Split(images, np.array(split["labels"], np.int32))
