"""What desktops, cameras, NAS, archives and version control leave in folders of images is no data, and is said."""

import numpy as np
import photographs
import pytest

from gcl_jax import predict
from gcl_jax.data import clutter, folder

NAMES = [
    "@eaDir", "#recycle", "@Recycle", "@Recently-Snapshot", ".@__thumb", ".thumbnails", "__MACOSX", ".AppleDouble",
    ".Trash-1000", ".Trashes", "$RECYCLE.BIN", "System Volume Information", "lost+found", ".ipynb_checkpoints",
    ".picasaoriginals", ".dtrash", ".git", ".svn", "CVS", ".hg", ".snapshot", ".snapshots", ".zfs", ".sync",
    ".stversions", "~snapshot", "@GMT-2024.01.31-08.00.00", "FOUND.000", "LOST.DIR", "Network Trash Folder",
    "2024 Previews.lrdata", "Photos Library.photoslibrary", "CaptureOne", "_vti_cnf", ".dropbox.cache", "__pycache__",
]  # fmt: skip
FILES = [
    "._000.jpg", ".hidden.png", ".trashed-1700000000-1.jpg", "Thumbs.db", "desktop.ini", ".DS_Store", "Icon\r",
    "000.sync-conflict-20240131-080000-ABCDEFG.jpg", "000 (Anna's conflicted copy 2024-01-31).jpg",
    "1.jpg@SynoEAStream",
]  # fmt: skip


def fill(root, name, number):
    for i in range(number):
        photographs.write(root / name / f"{i:03}.jpg", comment=f"{name}{i}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["{}", "a/{}", "a/{}/000.jpg"])
def test_clutter_at_any_level_is_no_data(tmp_path, capsys, name, where):
    fill(tmp_path, "a", 3)
    fill(tmp_path, "b", 2)
    photographs.write(tmp_path / where.format(name) / "SYNOPHOTO_THUMB_M.jpg")
    source = folder.read("mine", str(tmp_path), photographs.keys())
    assert source.class_names == ("a", "b")
    assert len(source.train) + len(source.test) == 5
    assert f"1 entry of other programs left out, no data: {name!r} 1" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["train", "test", "val"])
def test_clutter_in_parts_is_no_class(tmp_path, part):
    for folders in ("train", "test", "val"):
        fill(tmp_path / folders, "a", 2)
        fill(tmp_path / folders, "b", 2)
    for name in ("@eaDir", "__MACOSX", ".ipynb_checkpoints"):
        fill(tmp_path / part, name, 2)
        fill(tmp_path, f"{name}/train/a", 2)
    source = folder.read("mine", str(tmp_path), photographs.keys())
    assert source.class_names == ("a", "b")
    assert [len(split) for split in source.splits.values()] == [4, 4, 4]


def test_a_class_called_train_stays_one_beside_thumbnails(tmp_path):
    fill(tmp_path, "bus", 2)
    fill(tmp_path, "train", 2)
    fill(tmp_path, "train/@eaDir/000.jpg", 1)
    assert folder.read("mine", str(tmp_path), photographs.keys()).class_names == ("bus", "train")


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_programs_are_no_data(tmp_path, capsys, name):
    fill(tmp_path, "a", 3)
    fill(tmp_path, "b", 2)
    for where in ("", "a", "b"):
        (tmp_path / where / name).write_bytes((tmp_path / "a/000.jpg").read_bytes())
    source = folder.read("mine", str(tmp_path), photographs.keys())
    assert len(source.train) + len(source.test) == 5
    assert f"3 entries of other programs left out, no data: {clutter.title(name)!r} 3" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["trash", "recycled", "snapshot", "cvs", "a.b", "~", "@home", "#1", "lost"])
def test_a_class_may_have_such_a_name(tmp_path, name):
    fill(tmp_path, name, 2)
    fill(tmp_path, "z", 2)
    assert name in folder.read("mine", str(tmp_path), photographs.keys()).class_names


def test_many_names_are_counted_and_the_most_frequent_named(tmp_path, capsys):
    fill(tmp_path, "a", 3)
    fill(tmp_path, "b", 2)
    for i in range(20):
        (tmp_path / f"a/._{i:03}.jpg").touch()
        (tmp_path / f"b/.{i:03}.swp").touch()
    folder.read("mine", str(tmp_path), photographs.keys())
    told = capsys.readouterr().out
    assert "40 entries of other programs left out, no data: '._*' 20, '.000.swp' 1" in told
    assert "11 more names" in told


@pytest.mark.parametrize("name", NAMES[:8])
def test_predict_takes_no_clutter(tmp_path, name):
    fill(tmp_path, "new/deeper", 2)
    fill(tmp_path, f"new/{name}", 2)
    fill(tmp_path, f"new/deeper/{name}", 2)
    named = [path.relative_to(tmp_path).as_posix() for path in predict.files([str(tmp_path)])]
    assert named == ["new/deeper/000.jpg", "new/deeper/001.jpg"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("1.heic", ".heic 2 (such as a/1.heic)"),
        ("1.TIF", ".tif 2 (such as a/1.TIF)"),
        ("0001", "no suffix 2 (such as a/0001)"),
        ("1.jpg.part", ".part 2 (such as a/1.jpg.part)"),
        ("labels/1.xml", ".xml 2 (such as a/labels/1.xml)"),
    ],
)
def test_files_of_a_class_that_are_no_image_by_name_are_said(tmp_path, capsys, name, told):
    fill(tmp_path, "a", 3)
    fill(tmp_path, "b", 2)
    for where in ("a", "b"):
        (tmp_path / where / name).parent.mkdir(exist_ok=True)
        (tmp_path / where / name).write_text("x")
    source = folder.read("mine", str(tmp_path), photographs.keys())
    assert np.bincount(source.train.labels).sum() == 3
    assert f"2 files ignored, whose names do not end in .jpg, .jpeg, .png, .bmp, .gif, .webp: {told}" in (
        capsys.readouterr().out
    )
