"""Packs that are damaged, stopped while they are written, or have no room: each is named, and the cure with it."""

import json
import resource
import shutil

import jax
import numpy as np
import pytest
from packs import arguments, load
from photographs import four_classes

from gcl_jax import data
from gcl_jax.data import pack, packed
from gcl_jax.data.__main__ import main
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh

decode = pytest.importorskip("gcl_jax.data.decode", reason="photographs need TensorFlow")
pytest.importorskip("array_record", reason="packs need array_record")
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return four_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def whole(classes, tmp_path_factory, quick_compilation):
    out = tmp_path_factory.mktemp("packs") / "whole"
    main(arguments(classes, out))
    return out


@pytest.fixture
def copy(whole, tmp_path):
    """A pack to damage."""
    return shutil.copytree(whole, tmp_path / "copy")


def rewrite(index, **changed):
    index.write_text(json.dumps(json.loads(index.read_bytes()) | changed))


TRAIN = "train-00000.array_record"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda pack: (pack / TRAIN).write_bytes((pack / TRAIN).read_bytes()[:-100]),
         rf"(?s)is damaged.*{TRAIN} has [0-9,]+ bytes instead of [0-9,]+$"),
        (lambda pack: (pack / TRAIN).unlink(), rf"(?s)is damaged: pack the data again.*{TRAIN} is missing"),
        (lambda pack: (pack / packed.INDEX).unlink(), r"holds no pack \(index\.json is missing"),
        (lambda pack: rewrite(pack / packed.INDEX, version=2), r"index\.json is of version 2, and .* version 1:"),
        (lambda pack: rewrite(pack / packed.INDEX, format="other"), r"index\.json is of version None"),
        (lambda pack: (pack / packed.INDEX).write_text("[]"), r"index\.json is damaged"),
        (lambda pack: (pack / packed.INDEX).write_text('{"format": "gcl'), r"index\.json is damaged"),
        (lambda pack: shutil.rmtree(pack), "holds no pack"),
    ],
)  # fmt: skip
def test_a_damaged_pack_is_named_at_the_start(copy, damage, message):
    load(copy, "packed")
    damage(copy)
    with pytest.raises(UserError, match=message):
        load(copy, "packed")


def test_shards_outside_the_pack_are_read_only_where_that_is_allowed(copy, tmp_path):
    index = json.loads((copy / packed.INDEX).read_bytes())
    shards = [shard for split in index["splits"].values() for shard in split["shards"]]
    (tmp_path / "away").mkdir()
    moved = [(copy / shard["file"]).rename(tmp_path / "away" / shard["file"]) for shard in shards]
    shards[0]["file"] = str(moved[0])
    for shard, file in zip(shards[1:], moved[1:], strict=True):
        (copy / shard["file"]).symlink_to(file)
    rewrite(copy / packed.INDEX, **index)
    with pytest.raises(UserError) as error:
        load(copy, "packed")
    told = str(error.value).split("\n")
    assert told[1].startswith(f"{len(shards)} outside the root (")
    assert told[2] == f"  index.json: outside the root: {moved[0]}"
    image = load(copy, "packed", allow_outside=True).splits["train"].images.encoded(0)
    assert image[:2] == b"\xff\xd8"


@pytest.mark.parametrize("position", [0, 20])
def test_a_changed_byte_is_found_by_its_checksum_and_its_image_is_named(copy, position):
    dataset = load(copy, "packed")
    image, file = dataset.splits["train"].images.encoded(position), copy / TRAIN
    content = bytearray(file.read_bytes())
    content[content.index(image) + len(image) // 2] ^= 1
    file.write_bytes(content)
    dataset = load(copy, "packed")
    with pytest.raises(OSError, match="hash mismatch"):
        dataset.splits["train"].images.encoded(position)
    loader = data.make_loader("host", dataset, mesh.make_mesh(jax.devices()[:1]), resize=36)
    plan = np.array([[1, 2], [position, 3]], np.int32)
    rows = loader.rows("train", {"main": plan})
    next(rows)
    name = dataset.splits["train"].images.paths[position]
    with pytest.raises(UserError, match=rf"{name} of .*copy cannot be read \(.*hash mismatch.*pack the data again"):
        next(rows)


def test_a_pack_is_not_written_over_another_nor_among_other_files(classes, whole, tmp_path):
    before = {file.name: file.stat().st_mtime_ns for file in whole.iterdir()}
    with pytest.raises(SystemExit, match="whole holds a pack already"):
        main(arguments(classes, whole))
    assert {file.name: file.stat().st_mtime_ns for file in whole.iterdir()} == before
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit, match=r"holds thesis\.tex, which is of no pack"):
        main(arguments(classes, tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("out", ["file", "/proc/none"])
def test_a_folder_that_cannot_be_is_one_error(classes, tmp_path, out):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=f"--out: .*{out} cannot be a folder"):
        main(arguments(classes, tmp_path / out))


def test_a_full_disk_is_one_error(classes, tmp_path):
    """No file may grow beyond a few kilobytes."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(SystemExit, match=r"train-00000\.array_record could not be written"):
            main(arguments(classes, tmp_path / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    main(arguments(classes, tmp_path / "out"))


@pytest.mark.parametrize("where", ["in a shard", "before the index", "while the index is written"])
def test_a_pack_that_was_stopped_is_none_and_can_be_started_again(classes, whole, tmp_path, monkeypatch, where):
    def stop(*_):
        raise KeyboardInterrupt

    def stop_late(split, part, shorter, inner=pack._images):
        for i, image in enumerate(inner(split, part, shorter)):
            if part == "test" and i == 5:
                stop()
            yield image

    with monkeypatch.context() as patch:
        if where == "in a shard":
            patch.setattr(pack, "_images", stop_late)
        elif where == "before the index":
            patch.setattr(pack.json_files, "write", stop)
        else:
            patch.setattr(pack.Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            main(arguments(classes, tmp_path / "out"))
    assert any((tmp_path / "out").iterdir())
    with pytest.raises(UserError, match="holds no pack"):
        load(tmp_path / "out", "packed")
    (tmp_path / "out/train-00009.array_record").write_bytes(b"of data that were larger")
    main(arguments(classes, tmp_path / "out"))
    assert load(tmp_path / "out", "packed").fingerprint == load(whole, "packed").fingerprint
    names = {file.name for file in whole.iterdir()}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
    for name in names - {packed.INDEX}:
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()


def test_damage_is_found_by_inspect(copy, capsys):
    file = copy / TRAIN
    content = bytearray(file.read_bytes())
    image = load(copy, "packed").splits["train"].images.encoded(3)
    content[content.index(image) + 100] ^= 1
    file.write_bytes(content)
    with pytest.raises(SystemExit) as status:
        main(arguments(copy, "", "--decode", command="inspect", source="packed"))
    assert status.value.code == 1
    assert "train/ant/3.jpg of " in capsys.readouterr().out
