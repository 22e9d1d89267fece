"""Equal bytes in two splits, under two labels or twice in one; and classes without a test image."""

import builtins
import os
import re

import numpy as np
import photographs
import pytest
from conftest import ROOT

from gcl_jax import data
from gcl_jax.data import corrupt, duplicates, pack
from gcl_jax.data.__main__ import main
from gcl_jax.data.dataset import Split
from gcl_jax.data.files import Files

KEYS = {"name": "m", "profile": "none", "imbalance_ratio": 1.0, "subset_seed": 0, "validation_fraction": 0.0}


@pytest.fixture(autouse=True)
def without_decoding(monkeypatch):
    """A start without TensorFlow, which takes long to import."""
    monkeypatch.setattr(corrupt, "drop_corrupt", lambda source, on_bad_image: source)


def write(root, contents):
    """Image files {path: number}, equal where the numbers are."""
    for path, content in contents.items():
        photographs.write(root / path, comment=f"{content:09}")  # all of one size
    return root


def arguments(root, source="folder"):
    lists = [f"--config.data.photos.{part}_list={root / part}.txt" for part in ("train", "test")]
    return [
        "inspect", f"--config={ROOT}/configs/digits_lt.py:gcl", f"--config.data.path={root}", "--config.data.name=m",
        f"--config.data.source={source}", "--config.data.profile=none", "--config.data.loader=host",
        *(lists if source == "list" else []),
    ]  # fmt: skip


CLASSES = ("train/a", "train/b", "test/a", "test/b", "val/a", "val/b")
GOOD = {f"{name}/{i}.jpg": 10 * j + i for j, name in enumerate(CLASSES) for i in range(3)}


@pytest.mark.parametrize(
    ("same", "told"),
    [
        ({"test/a/0.jpg": 0}, ["1 of 6 test images are train images too, byte for byte: test/a/0.jpg = train/a/0.jpg"]),
        ({"val/a/2.jpg": 1}, ["1 of 6 validation images are train images too, byte for byte: val/a/2.jpg = "]),
        ({"val/b/2.jpg": 31}, ["1 of 6 test images are validation images too, byte for byte: test/b/1.jpg = val/b/2"]),
        (
            {"train/b/0.jpg": 2},
            [
                "1 image is there under more than one label, byte for byte: train/a/2.jpg (a) = train/b/0.jpg (b)",
                "1 of 6 train images are copies of others there, byte for byte: train/b/0.jpg = train/a/2.jpg",
            ],
        ),
        (
            {"test/b/0.jpg": 0},
            [
                "1 of 6 test images are train images too, byte for byte: test/b/0.jpg = train/a/0.jpg",
                "1 image is there under more than one label, byte for byte: train/a/0.jpg (a) = test/b/0.jpg (b)",
            ],
        ),
        (
            {f"test/{name}/{i}.jpg": i + 10 * (name == "b") for name in "ab" for i in range(3)},
            ["6 of 6 test images are train images too, byte for byte: test/a/0.jpg = train/a/0.jpg, test/a/1.jpg = "],
        ),
    ],
)
def test_equal_images_are_said_by_inspect_and_at_start(tmp_path, capsys, same, told):
    write(tmp_path, GOOD | same)
    main(arguments(tmp_path))
    inspected = capsys.readouterr().out
    assert "nothing wrong found" not in inspected
    data.load(source="folder", path=str(tmp_path), photos=photographs.keys(), **KEYS)
    started = capsys.readouterr().out
    for line in told:
        assert f"\nwarning: {line}" in inspected
        assert f"m: warning: {line}" in started
    assert inspected.count("warning: ") == started.count("warning: ") == len(told)


def test_different_images_of_one_size_are_no_duplicates(tmp_path, capsys):
    write(tmp_path, GOOD)
    main(arguments(tmp_path))
    assert "nothing wrong found" in capsys.readouterr().out


def test_lists_are_compared_too(tmp_path, capsys):
    write(tmp_path, {"x/0.jpg": 0, "x/1.jpg": 1, "y/2.jpg": 2, "new/3.jpg": 1, "new/4.jpg": 2})
    photographs.write_list(tmp_path, "train.txt", ["x/0.jpg", "x/1.jpg", "y/2.jpg"], [0, 0, 1])
    photographs.write_list(tmp_path, "test.txt", ["new/3.jpg", "new/4.jpg"], [0, 0])
    main(arguments(tmp_path, "list"))
    told = capsys.readouterr().out
    assert "warning: 2 of 2 test images are train images too, byte for byte: new/3.jpg = x/1.jpg, new/4.jpg = y" in told
    assert "warning: 1 image is there under more than one label, byte for byte: y/2.jpg (y) = new/4.jpg (x)" in told
    assert "1 of 2 classes has no test image, and no test accuracy counts it: y (1 training image)" in told


def test_one_file_listed_for_test_and_validation_is_no_copy(tmp_path):
    write(tmp_path, {"x/0.jpg": 0, "y/1.jpg": 1, "x/2.jpg": 2})
    photographs.write_list(tmp_path, "train.txt", ["x/0.jpg", "y/1.jpg"], [0, 1])
    held = photographs.write_list(tmp_path, "test.txt", ["x/2.jpg"], [0])
    photos = photographs.keys(train_list=tmp_path / "train.txt", test_list=held, validation_list=held)
    splits = data.load(source="list", path=str(tmp_path), photos=photos, **KEYS).splits
    assert not list(duplicates.warnings(splits, ("x", "y")))


def test_a_pack_is_compared_when_it_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pack, "pack", lambda *_, **__: {"splits": {}})
    write(tmp_path / "photos", GOOD | {"test/a/0.jpg": 0})
    main(["pack", *arguments(tmp_path / "photos")[1:], f"--out={tmp_path / 'pack'}"])
    assert "warning: 1 of 6 test images are train images too" in capsys.readouterr().out


def test_known_digests_stand_for_bytes(tmp_path):
    digests = np.array([[1] * 32, [2] * 32], np.uint8)
    splits = {
        part: data.Split(Files("gone", np.array([f"{part}/1.jpg", f"{part}/2.jpg"]), 8, digests), np.array([0, 1]))
        for part in ("train", "test")
    }
    assert [*duplicates.warnings(splits, ("a", "b"))] == [
        "warning: 2 of 2 test images are train images too, byte for byte: test/1.jpg = train/1.jpg, "
        "test/2.jpg = train/2.jpg"
    ]


def test_only_files_of_one_size_are_opened(tmp_path, monkeypatch):
    contents = {
        "a": b"1",
        "b": b"1",
        "c": b"22",
        "d": b"",
        "e": b"",
        "long": b"x" * 9_999,
        "other": b"y" + b"x" * 9_998,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    paths = [str(tmp_path / name) for name in (*contents, "pipe", "none")]
    opened, real = [], builtins.open
    monkeypatch.setattr(
        builtins, "open", lambda path, *rest: (opened.append(os.path.basename(path)), real(path, *rest))[1]
    )
    assert duplicates.equal_files(paths) == [[0, 1]]
    assert sorted({*opened}) == ["a", "b", "long", "other"]


# Classes without a test image.


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"a": 5, "b": 1}, "1 of 2 classes has no test image, and no test accuracy counts it: b (1 training image)"),
        (
            {"a": 1, "b": 1, "c": 2},
            "2 of 3 classes have no test image, and no test accuracy counts them: a (1 training",
        ),
        (dict.fromkeys("abcde", 1) | {"f": 9}, "5 of 6 classes have no test image"),
    ],
)
def test_a_class_without_test_image_is_said_by_inspect_and_at_start(tmp_path, capsys, numbers, told):
    write(tmp_path, {f"{name}/{i}.jpg": 10 * ord(name) + i for name, number in numbers.items() for i in range(number)})
    main(arguments(tmp_path))
    assert told in capsys.readouterr().out
    data.load(source="folder", path=str(tmp_path), photos=photographs.keys(), **KEYS)
    assert f"m: {told}" in capsys.readouterr().out


def test_a_class_missing_in_test_or_validation_is_said(tmp_path, capsys):
    write(tmp_path, {path: content for path, content in GOOD.items() if path[:6] not in ("test/b", "val/a/")})
    found = data.load(source="folder", path=str(tmp_path), photos=photographs.keys(), **KEYS)
    assert np.bincount(found.splits["test"].labels).tolist() == [3]
    told = capsys.readouterr().out
    assert "m: 1 of 2 classes has no test image, and no test accuracy counts it: b (3 training images)" in told
    assert "m: 1 of 2 classes has no validation image, and no validation accuracy counts it: a (3 training" in told


def arrays(**labels):
    """A split for each name, whose images are all different."""
    start, splits = 0, {}
    for part, own in labels.items():
        images = np.arange(start, start + len(own), dtype=np.uint8)[:, None, None, None]
        splits[part], start = Split(np.tile(images, (1, 2, 2, 1)), np.array(own)), start + len(own)
    return splits


def test_arrays_without_copies_have_no_warning():
    assert not [*duplicates.warnings(arrays(train=[0, 1, 0], test=[0, 1], validation=[1]), ("ant", "bee"))]


@pytest.mark.parametrize(
    ("part", "i", "other", "j", "told"),
    [
        ("test", 1, "train", 2, "1 of 2 test images are train images too, byte for byte: x_test[1] = x_train[2]"),
        (
            "validation",
            0,
            "train",
            0,
            "1 of 1 validation images are train images too, .*: x_validation[0] = x_train[0]",
        ),
        ("test", 0, "validation", 0, "1 of 2 test images are validation images too, .*: x_test[0] = x_validation[0]"),
        ("train", 3, "train", 1, "1 of 4 train images are copies of others there, .*: x_train[3] = x_train[1]"),
    ],
)
def test_equal_images_of_arrays_are_told(part, i, other, j, told):
    splits = arrays(train=[0, 1, 0, 1], test=[0, 1], validation=[0])
    splits[part].images[i] = splits[other].images[j]
    told = told.replace("[", r"\[").replace("]", r"\]")
    assert any(re.fullmatch(f"warning: {told}", line) for line in duplicates.warnings(splits, ("ant", "bee")))


def test_one_image_of_arrays_under_two_labels_is_told():
    splits = arrays(train=[0, 1, 0, 1], test=[0, 1])
    splits["train"].images[1] = splits["train"].images[0]
    expected = "warning: 1 image is there under more than one label, byte for byte: x_train[0] (ant) = x_train[1] (bee)"
    assert expected in [*duplicates.warnings(splits, ("ant", "bee"))]
