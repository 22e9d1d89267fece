"""The format of a pack's index, and its checksum."""

import posixpath
from collections.abc import Mapping, Sequence

from gcl_jax import json_files
from gcl_jax.typing import Json

CHECKSUM = "sha256"
DIGITS = 64


def with_checksums(index: Mapping[str, Json]) -> dict[str, Json]:
    """``index`` with its checksum."""
    return {**index, CHECKSUM: checksum(index)}


def checksum(index: Mapping[str, Json]) -> str:
    """SHA-256 over all of an index but the checksum itself and the folders of shards, which may be moved.

    >>> empty = {"version": 1, "splits": {}}
    >>> checksum(empty) == checksum(with_checksums(empty)) != checksum(empty | {"version": 2})
    True
    """
    covered = {key: value for key, value in index.items() if key != CHECKSUM}
    covered["splits"] = {
        part: {**split, "shards": [{**shard, "file": posixpath.basename(shard["file"])} for shard in split["shards"]]}
        for part, split in index["splits"].items()
    }
    return json_files.digest(covered, DIGITS)


def require_sound(index: Mapping[str, Json]) -> bool:
    """Raise KeyError or ValueError, with the reason, unless ``index`` has all its parts and its checksum is right.

    Returns whether it has a checksum: older versions wrote none.
    """
    names, splits = index["class_names"], index["splits"]
    _require(_all_of(names, str) and len(names) > 0, "class_names")
    _require(_is_number(index["shorter"]), "shorter")
    _require(_is_number(index["quality"]), "quality")
    parts = {"train", "test"}
    _require(isinstance(splits, dict) and parts <= splits.keys() <= {*parts, "validation"}, "splits")
    for part, split in splits.items():
        _require(isinstance(split, dict), part)
        _require_split(split, part, len(names))
    if CHECKSUM in index and index[CHECKSUM] != checksum(index):
        raise ValueError("its checksum is wrong")
    return CHECKSUM in index


def _require_split(split: Mapping[str, Json], part: str, num_classes: int) -> None:
    for key in ("images", "skipped", "resized"):
        _require(_is_number(split[key]), f"{part}.{key}")
    _require(isinstance(split.get("change", ""), str), f"{part}.change")
    paths, labels, shards = split["paths"], split["labels"], split["shards"]
    _require(_all_of(paths, str), f"{part}.paths")
    _require(_all_of(labels, int), f"{part}.labels")
    _require(len(paths) == len(labels) == split["images"] > 0, f"{part}.images")
    _require(min(labels) >= 0 and max(labels) < num_classes, f"{part}.labels")
    _require(_all_of(shards, dict), f"{part}.shards")
    for shard in shards:
        _require(isinstance(shard["file"], str) and "\0" not in shard["file"], f"{part}.shards.file")
        _require(_is_number(shard["bytes"]) and _is_number(shard["images"]), f"{part}.shards")
    _require(sum(shard["images"] for shard in shards) == len(paths), f"{part}.shards.images")


def _require(ok: bool, where: str) -> None:
    if not ok:
        raise ValueError(f"{where} is not what a pack has")


def _is_number(value: object) -> bool:
    """Whether ``value`` is a whole number from 0 on, and no bool, which is an int too."""
    return type(value) is int and 0 <= value < 2**63


def _all_of(values: object, kind: type) -> bool:
    """Whether ``values`` is a list of ``kind`` alone; ValueError for text that UTF-8 cannot hold."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not {*map(type, values)} <= {kind}:
        return False
    if kind is str:
        "".join(values).encode()  # UnicodeEncodeError is a ValueError
    return True
