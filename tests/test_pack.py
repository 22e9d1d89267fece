"""python -m gcl_jax.data pack: what is written, what is read back, and every way in which it can be damaged."""

import builtins
import io
import json
import resource
import shutil

import jax
import numpy as np
import photographs
import pytest
from conftest import ROOT
from photographs import config_of, equal, four_classes, trained_on
from PIL import Image

from gcl_jax import data, mesh, rng
from gcl_jax.data import image_kind, pack, packed
from gcl_jax.data.__main__ import main, parse
from gcl_jax.errors import UserError
from gcl_jax.parts import Parts

decode = pytest.importorskip("gcl_jax.data.decode", reason="photographs need TensorFlow")
pytest.importorskip("array_record", reason="packs need array_record")
pytestmark = pytest.mark.usefixtures("quick_compilation")


def arguments(root, out, *more, command="pack", **keys):
    """The command on `four_classes`, at 32 pixels."""
    lists = {f"photos.{part}_list": f"{root}/{part}.txt" for part in ("train", "test")}
    given = {"photos.size": 32, "photos.resize": 36} | lists | {k.replace("__", "."): v for k, v in keys.items()}
    flags = [f"--config.data.{key}={value}" for key, value in given.items()]
    return [command, f"--config={ROOT}/configs/photos_lt/gcl.py:{root}", f"--out={out}", *flags, *more]


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


def load(root, source, **photos):
    lists = {f"{part}_list": root / f"{part}.txt" for part in ("train", "test")} if source == "list" else {}
    keys = photographs.keys(size=32, resize=36, **lists, **photos)
    return data.load(
        source=source, name="photos_lt", path=str(root), profile="none", imbalance_ratio=1.0, subset_seed=0,
        validation_fraction=0.0, photos=keys,
    )  # fmt: skip


def contents(split):
    return [split.images.encoded(i) for i in range(len(split))]


# What is written and read back.


@pytest.mark.parametrize("source", ["list", "folder"])
def test_a_pack_is_the_source_byte_for_byte(classes, tmp_path, monkeypatch, source):
    monkeypatch.setattr(pack, "SHARD", 20_000)
    main(arguments(classes, tmp_path / "out", source=source))
    index = json.loads((tmp_path / "out" / packed.INDEX).read_bytes())
    assert len(index["splits"]["train"]["shards"]) > 2
    ours, theirs = load(tmp_path / "out", "packed"), load(classes, source)
    assert ours.fingerprint == theirs.fingerprint
    assert ours.describe() == theirs.describe()
    assert ours.class_names == theirs.class_names == ("ant", "bee", "cat", "dog")
    for part, split in theirs.splits.items():
        assert ours.splits[part].images.paths.tolist() == split.images.paths.tolist()
        assert contents(ours.splits[part]) == contents(split)
        np.testing.assert_array_equal(ours.splits[part].labels, split.labels)
        assert ours.splits[part].labels.dtype == split.labels.dtype


def test_a_validation_split_is_packed_too(classes, tmp_path):
    main(arguments(classes, tmp_path / "out", photos__validation_list=classes / "test.txt"))
    found = load(tmp_path / "out", "packed")
    assert found.splits["validation"].images.paths.tolist() == found.splits["test"].images.paths.tolist()


@pytest.mark.slow
def test_both_stages_train_from_a_list_and_from_its_pack_alike(classes, whole, tmp_path):
    """One index plan, one set of crops: equal bit for bit."""
    result, expected = trained_on(config_of(classes, "list"), tmp_path / "list")
    theirs, found = trained_on(config_of(whole, "packed"), tmp_path / "packed")
    equal(found, expected)
    assert theirs["data"] == result["data"]
    assert theirs["final"] == result["final"]


def test_batches_of_two_views_across_shards_are_those_of_the_list(classes, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "SHARD", 20_000)
    main(arguments(classes, tmp_path / "out"))
    plan = rng.numpy_generator(0, "plan").integers(0, 24, (5, 8)).astype(np.int32)

    def draws(stream, row):
        return rng.numpy_generator(0, stream, row).random((8, 2, decode.UNIFORMS), np.float32)

    def batches(root, source):
        loader = data.make_loader("host", load(root, source), mesh.make_mesh(jax.devices()[:1]), resize=36)
        train, test = loader.rows("train", {"main": plan}, draws), loader.rows("test", {"eval": plan % 8})
        return [row["main"] for row in train] + [row["eval"] for row in test]

    for ours, theirs in zip(batches(tmp_path / "out", "packed"), batches(classes, "list"), strict=True):
        np.testing.assert_array_equal(ours["image"], theirs["image"])
        np.testing.assert_array_equal(ours["label"], theirs["label"])


def test_a_long_tail_is_cut_from_a_pack_as_from_its_list(classes, whole):
    cut = {"data.profile": "exponential", "data.imbalance_ratio": 3.0}
    ours, theirs = (
        Parts(photographs.override(config_of(root, source), cut)).dataset
        for root, source in ((whole, "packed"), (classes, "list"))
    )
    assert ours.counts.tolist() == theirs.counts.tolist() != [9, 7, 5, 3]
    assert ours.fingerprint == theirs.fingerprint
    assert contents(ours.splits["train"]) == contents(theirs.splits["train"])


# Resizing.


def test_a_resized_pack_is_smaller_and_no_longer_the_same_data(classes, whole, tmp_path, capsys):
    root = shutil.copytree(classes, tmp_path / "large")
    for i, file in enumerate(sorted(root.glob("train/*/*.jpg"))):
        if i % 3:  # the others stay at 50 to 70 pixels
            image = Image.open(file)
            image.resize((image.width * 3, image.height * 3), Image.BICUBIC).save(file, quality=95)
    main(arguments(root, tmp_path / "out", "--shorter=72"))
    assert "train       24 images, 16 of them resized" in capsys.readouterr().out
    ours, theirs = load(tmp_path / "out", "packed"), load(root, "list")
    assert ours.fingerprint != theirs.fingerprint
    number = 0
    for i in range(24):
        small, large = (dataset.splits["train"].images.encoded(i) for dataset in (ours, theirs))
        before, after = Image.open(io.BytesIO(large)), Image.open(io.BytesIO(small))
        if min(before.size) <= 72:
            assert small == large
            continue
        number += 1
        assert len(small) < len(large) / 2
        assert after.size == tuple(round(side * 72 / min(before.size)) for side in before.size)
        expected = np.asarray(before.resize(after.size, Image.BILINEAR)).astype(int)
        assert np.abs(np.asarray(after) - expected).mean() < 3
    assert number == 16


def test_a_pack_of_which_nothing_was_resized_is_the_same_data(classes, whole, tmp_path):
    main(arguments(classes, tmp_path / "out", "--shorter=70"))
    assert load(tmp_path / "out", "packed").fingerprint == load(whole, "packed").fingerprint


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16", "1"])
def test_resized_images_look_as_training_would_see_them(mode):
    """In particular 16 bits are not clipped to 8."""
    gradient = np.linspace(0, 255, 80 * 60).reshape(60, 80)
    image = Image.fromarray((gradient * 257).astype(np.uint16)) if mode == "I;16" else Image.fromarray(
        gradient.astype(np.uint8)
    ).convert(mode)  # fmt: skip
    stream = io.BytesIO()
    image.save(stream, "PNG")
    found = pack._resized(stream.getvalue(), 30)
    assert found.resized
    assert image_kind.look(found.encoded) == image_kind.ImageKind("JPEG", "RGB", 40, 30)
    seen = decode.decoded(stream.getvalue()).numpy().reshape(30, 2, 40, 2, 3).mean((1, 3))
    assert np.abs(decode.decoded(found.encoded).numpy() - seen).mean() < (20 if mode == "1" else 3)


# Images that cannot be decoded.


@pytest.fixture
def spoilt(classes, tmp_path):
    root = shutil.copytree(classes, tmp_path / "spoilt")
    for path in ("train/ant/3.jpg", "train/ant/5.jpg", "test/bee/8.jpg"):
        (root / path).write_bytes(b"damaged")
    (root / "train/bee/0.jpg").write_bytes(b"")
    return root


def test_all_bad_images_are_named_and_nothing_is_packed(spoilt, tmp_path):
    (spoilt / "train/bee/0.jpg").write_bytes(b"x")
    config = parse(arguments(spoilt, tmp_path / "out"))[1].data
    source = data.lists.read("mine", str(spoilt), config.photos.to_dict())
    with pytest.raises(
        UserError, match=r"4 images cannot be decoded, and nothing is packed.*on_bad_image=skip"
    ) as error:
        pack.pack(source, str(tmp_path / "out"))
    for path in ("train/ant/3.jpg", "train/ant/5.jpg", "train/bee/0.jpg", "test/bee/8.jpg"):
        assert f"{spoilt}/{path}: not an image" in str(error.value)
    with pytest.raises(UserError, match="holds no pack"):
        load(tmp_path / "out", "packed")


def test_skipped_images_are_told_and_counted_as_from_the_list(spoilt, tmp_path, monkeypatch, capsys):
    main(arguments(spoilt, tmp_path / "out", photos__on_bad_image="skip"))
    told = capsys.readouterr().out
    assert "4 images cannot be decoded and are skipped" in told
    assert f"{spoilt}/train/bee/0.jpg: empty file" in told
    theirs = load(spoilt, "list", on_bad_image="skip")
    monkeypatch.setattr(image_kind, "look_at_all", lambda *a, **k: pytest.fail("images of a pack are decoded again"))
    ours = load(tmp_path / "out", "packed", on_bad_image="skip")
    assert ours.describe() == theirs.describe()
    assert ours.describe()["skipped"] == {"train": 3, "test": 1}


def test_a_split_of_bad_images_alone_is_not_packed(spoilt, tmp_path):
    for file in (spoilt / "test").rglob("*.jpg"):
        file.write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="no test image is left"):
        main(arguments(spoilt, tmp_path / "out", photos__on_bad_image="skip"))
    assert not (tmp_path / "out" / packed.INDEX).exists()


# Damage, and packs that were stopped.


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
            patch.setattr(pack.logs, "write_json", stop)
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


# The commands.


def test_a_pack_is_inspected_like_what_was_packed(classes, whole, capsys):
    def told(command):
        main(command)
        return [line for line in capsys.readouterr().out.splitlines() if not line.startswith(("source", "root"))]

    theirs = told(arguments(classes, "", "--decode", command="inspect"))
    ours = told(arguments(whole, "", "--decode", command="inspect", source="packed"))
    assert ours == theirs
    assert "files       32 of 32 decoded" in ours
    assert ours[-1] == "nothing wrong found"


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out": ""}, "--out is missing"),
        ({"more": ["--shorter=20"]}, r"--shorter is 20, less than config\.data\.photos\.resize, 36"),
        ({"more": ["--shorter=many"]}, "--shorter"),
        ({"source": "packed"}, r"config\.data\.source is 'packed': photographs are packed"),
        ({"source": "digits", "loader": "device"}, r"config\.data\.source is 'digits': photographs are packed"),
    ],
)
def test_wrong_arguments_are_named(classes, given, message):
    more = given.pop("more", [])
    with pytest.raises(UserError, match=message):
        parse(arguments(classes, **({"out": "somewhere"} | given)) + more)


def test_without_array_record_the_cure_is_named(whole, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("array_record"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'gcl_jax\[photos,tf\]'"):
        load(whole, "packed")
