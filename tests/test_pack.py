"""python -m gcl_jax.data pack: what is written, what is read back, and its command."""

import builtins
import io
import json
import shutil

import jax
import numpy as np
import photographs
import pytest
from packs import arguments, load
from photographs import config_of, equal, four_classes, trained_on
from PIL import Image

from gcl_jax import data, rng
from gcl_jax.data import image_kind, pack, packed
from gcl_jax.data.__main__ import main, parse
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh
from gcl_jax.training.run_context import RunContext

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


def contents(split):
    return [split.images.encoded(i) for i in range(len(split))]


# What is written and read back.


@pytest.mark.parametrize("source", ["list", "folder"])
def test_a_pack_is_the_source_byte_for_byte(classes, tmp_path, monkeypatch, source):
    monkeypatch.setattr(pack, "SHARD_BYTES", 20_000)
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
    monkeypatch.setattr(pack, "SHARD_BYTES", 20_000)
    main(arguments(classes, tmp_path / "out"))
    plan = rng.numpy_generator(0, "plan").integers(0, 24, (5, 8)).astype(np.int32)

    def crop_noise(stream, row):
        return rng.numpy_generator(0, stream, row).random((8, 2, decode.CROP_NOISE_SIZE), np.float32)

    def batches(root, source):
        loader = data.make_loader("host", load(root, source), mesh.make_mesh(jax.devices()[:1]), resize=36)
        train, test = loader.rows("train", {"main": plan}, crop_noise), loader.rows("test", {"eval": plan % 8})
        return [row["main"] for row in train] + [row["eval"] for row in test]

    for ours, theirs in zip(batches(tmp_path / "out", "packed"), batches(classes, "list"), strict=True):
        np.testing.assert_array_equal(ours["image"], theirs["image"])
        np.testing.assert_array_equal(ours["label"], theirs["label"])


def test_a_long_tail_is_cut_from_a_pack_as_from_its_list(classes, whole):
    cut = {"data.profile": "exponential", "data.imbalance_ratio": 3.0}
    ours, theirs = (
        RunContext(photographs.override(config_of(root, source), cut)).dataset
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
    assert image_kind.identify(found.encoded) == image_kind.ImageKind("JPEG", "RGB", 40, 30)
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
    monkeypatch.setattr(image_kind, "identify_all", lambda *a, **k: pytest.fail("images of a pack are decoded again"))
    ours = load(tmp_path / "out", "packed", on_bad_image="skip")
    assert ours.describe() == theirs.describe()
    assert ours.describe()["skipped"] == {"train": 3, "test": 1}


def test_a_split_of_bad_images_alone_is_not_packed(spoilt, tmp_path):
    for file in (spoilt / "test").rglob("*.jpg"):
        file.write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="no test image is left"):
        main(arguments(spoilt, tmp_path / "out", photos__on_bad_image="skip"))
    assert not (tmp_path / "out" / packed.INDEX).exists()


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


@pytest.mark.parametrize("where", ["", "pack", "train/pack", "../own/x/../pack"])
def test_a_pack_is_not_written_among_the_classes(tmp_path, where):
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to("own")
    for root, out in (("own", "own"), ("link", "own"), ("own", "link")):
        with pytest.raises(UserError, match=r"lies in config\.data\.path, where it would be taken for a class"):
            parse(arguments(tmp_path / root, tmp_path / out / where, source="folder", path=tmp_path / root))
    parse(arguments(tmp_path / "own", tmp_path / "own2", source="folder", path=tmp_path / "own"))


@pytest.mark.parametrize("path", ["~nobody_of_this_name/pack", "a\0b"])
def test_a_folder_that_cannot_be_is_named(classes, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="holds no pack"):
        packed.read("mine", path, photographs.keys())
    if "\0" in path:
        with pytest.raises(UserError, match=r"--out: 'a\\x00b' cannot be a folder"):
            pack.pack(None, path)


def test_without_array_record_the_cure_is_named(whole, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("array_record"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'gcl_jax\[photos,tf\]'"):
        load(whole, "packed")
