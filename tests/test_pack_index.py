"""The index of a pack: every change in it is found, whatever it does to the shapes of things; older ones are read."""

import copy
import json
import logging

import pytest

from gcl_jax.data import pack_index, packed, records
from gcl_jax.errors import UserError


def split(number, part):
    shards = [{"file": f"{part}-00000.array_record", "bytes": 10 * number, "images": number}]
    return {"images": number, "skipped": 0, "resized": 0, "shards": shards,
            "paths": [f"{part}/{i}.jpg" for i in range(number)], "labels": [i % 2 for i in range(number)]}  # fmt: skip


GOOD = {
    "format": packed.FORMAT, "version": packed.VERSION, "name": "mine", "class_names": ["ant", "bee"], "shorter": 0,
    "quality": 95, "splits": {"train": split(4, "train"), "test": split(2, "test")},
}  # fmt: skip


def read(folder, index):
    (folder / packed.INDEX).write_text(index if isinstance(index, str) else json.dumps(index))
    return packed.read_index(folder)


def test_a_signed_index_is_read(tmp_path):
    assert read(tmp_path, pack_index.with_checksums(GOOD))["splits"] == GOOD["splits"]
    assert read(tmp_path, json.dumps(pack_index.with_checksums(GOOD), indent=3, sort_keys=True))["class_names"] == [
        "ant",
        "bee",
    ]


def test_an_index_without_checksum_is_read_and_said(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO):
        assert read(tmp_path, GOOD)["name"] == "mine"
    assert "has no checksum" in caplog.text + "".join(capfd.readouterr())


CHANGES = {
    "a label": lambda index: index["splits"]["train"]["labels"].__setitem__(2, 1),
    "a class's name": lambda index: index["class_names"].__setitem__(1, "cee"),
    "a path": lambda index: index["splits"]["test"]["paths"].__setitem__(1, "test/8.jpg"),
    "two paths": lambda index: index["splits"]["train"]["paths"].reverse(),
    "skipped": lambda index: index["splits"]["train"].__setitem__("skipped", 1),
    "what was resized": lambda index: index["splits"]["train"].__setitem__("resized", 1),
    "the shorter side": lambda index: index.__setitem__("shorter", 256),
    "the name": lambda index: index.__setitem__("name", "yours"),
    "a shard's name": lambda index: index["splits"]["train"]["shards"][0].__setitem__("file", "test-00000"),
    "a shard's size": lambda index: index["splits"]["train"]["shards"][0].__setitem__("bytes", 41),
    "the splits": lambda index: index["splits"].__setitem__("validation", split(2, "test")),
    "something new": lambda index: index.__setitem__("extra", 1),
    "the checksum": lambda index: index.__setitem__("sha256", "0" * 64),
    "the checksum's type": lambda index: index.__setitem__("sha256", None),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_breaks_the_checksum(tmp_path, change):
    index = copy.deepcopy(pack_index.with_checksums(GOOD))
    CHANGES[change](index)
    with pytest.raises(UserError, match=r"index\.json is damaged \(its checksum is wrong\): pack the data again"):
        read(tmp_path, index)


def test_a_flipped_bit_anywhere_in_an_index_is_told(tmp_path):
    """As an error of one line; but of the checksum's own name, without which it is an older index, and said to be."""
    text = json.dumps(pack_index.with_checksums(GOOD)).encode()
    name = text.index(b'"sha256"')
    silent, told = [], []
    for i in range(0, 8 * len(text), 23):  # prime to 8: every bit of a byte has its turn
        flipped = bytearray(text)
        flipped[i // 8] ^= 1 << i % 8
        (tmp_path / packed.INDEX).write_bytes(flipped)
        try:
            found = packed.read_index(tmp_path)
        except UserError as error:
            told.append(str(error))
        else:
            silent += [] if name <= i // 8 <= name + 8 else [(i, found)]
    assert len(told) > 100
    assert not any("\n" in line for line in told)
    # JSON leaves it open how white space is written: nothing changed.
    assert all({**found, "sha256": 0} == {**GOOD, "sha256": 0} for _, found in silent)


def parts(index, path=()):
    """The paths of everything in an index."""
    yield path
    if isinstance(index, dict | list):
        for key in index if isinstance(index, dict) else range(len(index)):
            yield from parts(index[key], (*path, key))


OTHERS = [None, True, -1, 7, 10**400, 1.5, float("nan"), "", "x\0", [], [None], [[]], {}, {"a": 1}]


@pytest.mark.parametrize("text", ["\ud800", "a/\udcff.jpg", "\udbff\udbff"])
@pytest.mark.parametrize("where", ["class_names", "paths"])
def test_names_are_what_utf_8_can_hold(tmp_path, text, where):
    index = copy.deepcopy(GOOD)
    (index if where == "class_names" else index["splits"]["train"])[where][0] = text
    with pytest.raises(UserError, match="is damaged"):
        read(tmp_path, index)


@pytest.mark.parametrize("resigned", [False, True])
def test_every_part_may_be_anything_and_nothing_is_a_traceback(tmp_path, resigned):
    """Also where somebody computed the checksum anew, as far as it can be."""
    told = []
    for path in parts(GOOD):
        for other in [*OTHERS, KeyError]:
            index = copy.deepcopy({"whole": GOOD})
            *way, last = ("whole", *path)
            block = index
            for key in way:
                block = block[key]
            if other is KeyError:
                del block[last]
            else:
                block[last] = other
            whole = index.get("whole", [])
            if resigned:
                try:
                    whole = pack_index.with_checksums(whole)
                except (TypeError, KeyError, AttributeError, ValueError):
                    continue
            try:
                found = read(tmp_path, whole)
            except UserError as error:
                told.append(str(error))
            else:
                for part in found["splits"].values():
                    assert len(part["paths"]) == len(part["labels"]) == sum(s["images"] for s in part["shards"])
                    assert {*map(type, part["labels"])} == {int}
    assert len(told) > 300
    assert not [line for line in told if "\n" in line or len(line) > 500 + len(str(tmp_path))]


@pytest.mark.parametrize(
    "folder", ["run[1]", "[0:2]", "a*b", "q?", "{x,y}", "line\nbreak", "%41", "a,b@3", "[!a]", "sp ace"]
)
def test_shards_are_read_below_any_folder(tmp_path, folder):
    pytest.importorskip("array_record", reason="packs need array_record")
    (tmp_path / folder).mkdir()
    file = str(tmp_path / folder / "train-00000.array_record")
    writer = records.array_record().array_record_module.ArrayRecordWriter(file, "group_size:1,uncompressed")
    for one in (b"one", b"two"):
        writer.write(one)
    writer.close()
    store = records.open_shards([(file, 2)])
    assert [store[i] for i in range(len(store))] == [b"one", b"two"]
