"""Layouts of image folders whose reading would lose something, and entries that cannot be read, are named."""

import errno
import inspect
import os
import pathlib
import socket
import sys

import photographs
import pytest

from gcl_jax import predict
from gcl_jax.data import folder
from gcl_jax.data.dataset import cut
from gcl_jax.errors import UserError


def fill(root, *paths):
    for path in paths:
        photographs.write(root / path, comment=path)
    return root


def read(root, **given):
    return folder.read("mine", str(root), photographs.keys(**given))


TWO = ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
SPLITS = tuple(f"{part}/{path}" for part in ("train", "test") for path in TWO)


# Layouts.


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        # classes in classes
        (["train/Fruit/Apple/Golden/x.jpg", "train/Pack/Milk/Bio/x.jpg"], "2 class .*Fruit/Apple/Golden/x.jpg"),
        (["Fruit/Apple/1.jpg", "Fruit/Pear/1.jpg", "Carrot/1.jpg"], "one class folder .* such as Fruit/Apple/1.jpg"),
        ([*TWO, "a/more/1.jpg"], "a/more/1.jpg"),
        ([*SPLITS, "test/b/more/1.jpg"], "test/b/more/1.jpg"),
        ([*SPLITS, "val/a/x/y/z/1.jpg"], "val/a/x/y/z/1.jpg"),
        (["a/train/1.jpg", "a/test/1.jpg", "b/train/1.jpg", "b/test/1.jpg"], "2 class folders .* a/test/1.jpg"),
        (["training/a/1.jpg", "training/b/1.jpg", "testing/a/1.jpg"], "testing/a/1.jpg"),
        # images in no class
        ([*TWO, "3.jpg"], "the image 3.jpg lies, beside the folders"),
        ([*SPLITS, "3.jpg", "4.jpg"], "2 images lie, such as 3.jpg"),
        ([*SPLITS, "train/3.jpg"], "train/3.jpg lies"),
        ([*SPLITS, "test/3.jpg"], "test/3.jpg lies"),
        # parts without classes, and parts beside classes
        (["train/1.jpg", "test/1.jpg"], "has no folder for each class"),
        ([*TWO, "test/1.jpg"], "test has no folder for each class"),
        ([*TWO, "val/1.jpg"], "val has no folder for each class"),
        (["train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"], "test beside train.*test has no class folders"),
        ([*SPLITS, "unlabelled/1.jpg"], "unlabelled beside train"),
        ([*SPLITS, "valid/a/1.jpg"], "valid beside train"),
        (["test/a/1.jpg", "c/1.jpg"], "test but no train"),
        ([*SPLITS, "Test/a/1.jpg"], "both Test and test|both test and Test"),
    ],
)
def test_a_layout_that_would_lose_something_is_refused(tmp_path, paths, message):
    fill(tmp_path, *paths)
    with pytest.raises(UserError, match=f"^config.data.path: .*{message}") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_folders_without_images_in_a_class_lose_nothing(tmp_path):
    fill(tmp_path, *TWO)
    (tmp_path / "a/empty/deeper").mkdir(parents=True)
    (tmp_path / "b/notes").mkdir()
    (tmp_path / "b/notes/1.txt").write_text("x")
    source = read(tmp_path)
    assert len(source.train) + len(source.test) == 4


# Links and depth.


def link(path, target):
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: link(root / "a/self", "self"), "missing: a/self"),
        (lambda root: link(root / "a/self.jpg", "self.jpg"), "missing: a/self.jpg"),
        (lambda root: link(root / "self", "self"), "missing: self"),
        (lambda root: (link(root / "c", "d"), link(root / "d", "c")), "missing: c"),
        (lambda root: link(root / "c", "/nowhere/disk"), "missing: c"),
        (lambda root: link(root / "test", "/nowhere/disk"), "missing: test"),
        (lambda root: link(root / "a/more", "/nowhere/disk"), "missing: a/more"),
        (lambda root: link(root / "a/peer", "../b"), "such as a/peer/1.jpg"),
    ],
)
def test_links_that_lead_nowhere_or_into_classes_are_named(tmp_path, make, message):
    fill(tmp_path, *TWO)
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("target", [".", "..", "../../{}", "../a"])
def test_links_to_folders_above_add_nothing(tmp_path, capsys, target):
    root = fill(tmp_path / "root", *TWO)
    link(root / "a/round", target.format("root"))
    source = read(root)
    assert len(source.train) + len(source.test) == 4
    assert "1 link to folders read before ignored, such as a/round" in capsys.readouterr().out


@pytest.mark.parametrize("images", [True, False])
def test_folders_linked_to_each_other_come_to_an_end(tmp_path, images):
    names = "abcdefghi"
    fill(tmp_path, *(f"{name}/1.jpg" for name in (names if images else "yz")))
    inside = tmp_path if images else tmp_path / "y"
    for name in names:
        (inside / name).mkdir(exist_ok=True)
        for other in names:
            link(inside / name / f"to_{other}", f"../{other}")
    if images:
        with pytest.raises(UserError, match="9 class folders hold folders of images"):
            read(tmp_path)
    else:
        assert read(tmp_path).class_names == ("y", "z")
    found = list(predict.files([str(tmp_path)]))
    assert len({path.resolve() for path in found}) == len(found) == (9 if images else 2)


@pytest.fixture
def little_stack():
    """Recursion to 200 calls: 300 nested folders are as 1,500 are to Python's own limit, and made in no time."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    yield
    sys.setrecursionlimit(limit)


def nest(top, name, depth):
    """An image below ``depth`` folders called ``name``, whatever length a path may have."""
    content, start = photographs.write(top / "1.jpg", comment=name).read_bytes(), os.getcwd()
    os.chdir(top)
    try:
        for _ in range(depth):
            os.mkdir(name)
            os.chdir(name)
        pathlib.Path("1.jpg").write_bytes(content)
    finally:
        os.chdir(start)
    return top


def test_folders_nested_deeply_are_one_short_line(tmp_path, little_stack):
    fill(tmp_path, *TWO)
    nest(tmp_path / "a", "d", 300)
    with pytest.raises(UserError, match=r"one class folder .* a/d/d/.*…/d/.*d/1\.jpg") as error:
        read(tmp_path)
    assert len(str(error.value)) < 700
    assert len(list(predict.files([str(tmp_path / "a/d")]))) == 1


def test_a_path_that_is_too_long_is_one_short_line(tmp_path):
    fill(tmp_path, *TWO)
    nest(tmp_path / "a", "d" * 200, 25)
    with pytest.raises(UserError, match=r"unreadable: a/ddd.* \(File name too long\)") as error:
        read(tmp_path)
    assert len(str(error.value)) < 700
    with pytest.raises(UserError, match=r"…ddd.*cannot be read \(File name too long\)"):
        list(predict.files([str(tmp_path / "a")]))


# What cannot be read.


@pytest.fixture
def locked(monkeypatch):
    """Folders whose names have "locked" in them refuse a look, as they would anyone but root."""
    scandir = os.scandir

    def refusing(path="."):
        if "locked" in os.path.basename(path.rstrip("/")):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("a/locked/1.jpg", ".: unreadable: a/locked (Permission denied)"),
        ("a/b/c/locked/1.jpg", ".: unreadable: a/b/c/locked (Permission denied)"),
        ("locked/1.jpg", ".: unreadable: locked (Permission denied)"),
    ],
)
def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path, locked, path, told):
    fill(tmp_path, *TWO, path)
    with pytest.raises(UserError) as error:
        read(tmp_path)
    assert f"  {told}" in str(error.value).splitlines()
    _, found = folder.find("mine", str(tmp_path), photographs.keys())  # what inspect prints
    assert told in map(str, found)


def test_a_root_that_cannot_be_read_is_named(tmp_path, locked):
    for root in (fill(tmp_path / "locked", *TWO), fill(tmp_path / "locked images", *TWO)):
        with pytest.raises(UserError, match=rf"config\.data\.path: {root} cannot be read \(Permission denied\)"):
            read(root)
        with pytest.raises(UserError, match=rf"{root} cannot be read \(Permission denied\)"):
            list(predict.files([str(root)]))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("none", "there is no folder"),
        ("a" * 3_000, "File name too long"),
        ("~nobody_of_this_name/x", "there is no folder"),
        ("\0", "there is no folder"),
        ("self", "there is no folder"),
        ("a/1.jpg", "there is no folder"),
    ],
)
def test_a_root_that_is_none_is_one_line(tmp_path, monkeypatch, path, told):
    fill(tmp_path, *TWO)
    link(tmp_path / "self", "self")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"^config\.data\.path: .*{told}") as error:
        read(path)
    assert len(str(error.value)) < 400
    if path != "a/1.jpg":
        with pytest.raises(UserError, match="there is no image") as error:
            list(predict.files([path]))
        assert len(str(error.value)) < 400


def test_only_regular_files_are_images(tmp_path, monkeypatch):
    fill(tmp_path, *TWO)
    os.mkfifo(tmp_path / "a/pipe.jpg")
    os.mkfifo(tmp_path / "a/pipe")
    link(tmp_path / "b/device.png", "/dev/zero")
    monkeypatch.chdir(tmp_path / "b")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.gif")
        _, found = folder.find("mine", str(tmp_path), photographs.keys(allow_outside=True))
    assert sorted(map(str, found)) == [
        f".: no regular file: {path}" for path in ("a/pipe.jpg", "b/device.png", "b/socket.gif")
    ]
    with pytest.raises(predict._NoImageError, match="no regular file"):
        predict._pixels(None, tmp_path / "a/pipe.jpg", 8, 8, 3)


# Names of classes.

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("part", ["test", "val"])
@pytest.mark.parametrize(
    ("train", "other"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), ("Apple", "apple"), ("a", "A")]
)
def test_a_class_that_is_written_otherwise_is_told_with_its_like(tmp_path, part, train, other):
    fill(tmp_path, f"train/{train}/1.jpg", "train/zoo/2.jpg", f"{part}/{other}/3.jpg", f"{part}/zoo/4.jpg")
    with pytest.raises(UserError, match="unknown to training: ") as error:
        read(tmp_path)
    assert f"(training has {train!a}, this is {other!a})" in str(error.value)


@pytest.mark.parametrize(
    "names", [(COMPOSED, DECOMPOSED), ("\u212b", "\u00c5"), ("\uac00", "\u1100\u1161"), ("n\u0303", "\u00f1")]
)
@pytest.mark.parametrize("part", ["", "train/"])
def test_two_classes_that_cannot_be_told_apart_are_refused(tmp_path, names, part):
    fill(tmp_path, *(f"{part}{name}/{i}.jpg" for name in (*names, "zoo") for i in range(2)))
    with pytest.raises(UserError, match="1 class that is there twice"):
        read(tmp_path)


def test_letters_of_both_cases_are_classes(tmp_path):
    fill(tmp_path, *(f"{name}/{i}.jpg" for name in "aAbB" for i in range(2)))
    assert read(tmp_path).class_names == ("A", "B", "a", "b")


@pytest.mark.parametrize("paths", [["a/1.jpg", "b/1.jpg"], ["train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg"]])
def test_where_no_class_has_a_second_image_there_is_no_test_set(tmp_path, capsys, paths):
    source = read(fill(tmp_path, *paths))
    assert "no test folder, and no class has a second image that could be held out as" in capsys.readouterr().out
    with pytest.raises(UserError, match="x_test is empty: there is no test image"):
        cut(source, profile="none", imbalance_ratio=1)


@pytest.mark.parametrize("suffix", [".heic", ".HEIC", ".tif", ".avif", ".CR2", ".jfif"])
def test_photographs_that_are_not_read_are_told_with_the_cure(tmp_path, capsys, suffix):
    fill(tmp_path, *TWO)
    (tmp_path / f"a/3{suffix}").write_bytes(b"x")
    (tmp_path / "a/notes.txt").write_text("x")
    read(tmp_path)
    told = capsys.readouterr().out
    assert f"{suffix.lower()} 1 (such as a/3{suffix}): images, to be converted to JPEG or PNG" in told
    assert "a/notes.txt)\n" in told or "a/notes.txt)," in told
