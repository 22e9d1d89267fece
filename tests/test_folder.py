"""Photographs by folder, its held-out test set, and the long-tailed cuts of it."""

import json
import os
import zipfile

import numpy as np
import photographs
import pytest
from conftest import _shared

from gcl_jax import data, longtail
from gcl_jax.data import class_counts, folder
from gcl_jax.errors import UserError


def fill(root, **numbers):
    """``numbers`` of images in each class's folder."""
    for name, number in numbers.items():
        for i in range(number):
            photographs.write(root / name / f"{i:03}.png")
    return root


def read(root, **given):
    return folder.read("mine", str(root), photographs.keys(**given))


# Layouts.


def test_folders_with_train_and_test_are_splits(tmp_path):
    fill(tmp_path / "train", wren=3, ant=2)
    fill(tmp_path / "test", wren=1, ant=1)
    fill(tmp_path / "val", ant=1)
    source = read(tmp_path, size=16)
    assert source.class_names == ("ant", "wren")
    assert source.train.images.paths.tolist()[1:3] == ["train/ant/001.png", "train/wren/000.png"]
    assert source.train.images.shape == (5, 16, 16, 3)
    assert source.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert source.test.labels.tolist() == [0, 1]
    assert source.validation.labels.tolist() == [0]
    assert data.cut(source, profile="none", imbalance_ratio=1.0).counts.tolist() == [2, 3]


def test_a_fifth_of_each_class_is_held_out_where_there_is_no_test_folder(tmp_path, capsys):
    fill(tmp_path, a=20, b=7, c=3, d=2, e=1)
    source = read(tmp_path)
    held = np.bincount(source.test.labels, minlength=5)
    assert held.tolist() == [4, 1, 1, 1, 0]
    assert (np.bincount(source.train.labels) + held).tolist() == [20, 7, 3, 2, 1]
    assert not {*source.train.images.paths} & {*source.test.images.paths}
    assert "no test folder; 7 of 33 images, a fifth of each class, held out as test" in capsys.readouterr().out


def test_the_held_out_images_depend_on_nothing_but_the_folder(tmp_path):
    fill(tmp_path, a=20, b=20)
    first = read(tmp_path)
    _, held = longtail.hold_out(np.repeat([0, 1], 20), 0.2, 0)  # 4 of 20 each, the draw of seed 0
    assert first.test.images.paths.tolist() == [f"{'ab'[i // 20]}/{i % 20:03}.png" for i in held]
    cuts = [
        data.cut(read(tmp_path), profile="exponential", imbalance_ratio=ratio, subset_seed=seed)
        for ratio, seed in ((4.0, 0), (4.0, 1), (2.0, 0))
    ]
    for found in cuts:
        assert found.splits["test"].images.paths.tolist() == first.test.images.paths.tolist()
        assert {*found.splits["train"].images.paths} <= {*first.train.images.paths}
    assert cuts[0].splits["train"].images.paths.tolist() != cuts[1].splits["train"].images.paths.tolist()


def test_images_go_by_their_suffix_and_other_files_are_counted(tmp_path, capsys):
    fill(tmp_path, a=5, b=5)
    for name in ("x.JPG", "x.jpeg", "x.bmp", "x.GIF", "x.webp"):
        photographs.write(tmp_path / "a" / name)
    for name in ("a/notes.txt", "b/Thumbs.db", "b/._x.jpg", "README"):
        (tmp_path / name).write_text("no image")
    for hidden in (".cache", "a/.thumbnails"):
        photographs.write(tmp_path / hidden / "x.png")
    source = read(tmp_path)
    assert len(source.train) + len(source.test) == 15
    assert source.class_names == ("a", "b")
    told = capsys.readouterr().out
    assert "1 file ignored, whose names do not end in .jpg" in told
    assert ".txt 1 (such as a/notes.txt)" in told
    assert "4 entries of other programs left out" in told


def test_train_and_test_in_capitals_are_no_classes(tmp_path):
    fill(tmp_path / "Train", wren=3, ant=2)
    fill(tmp_path / "TEST", wren=1, ant=1)
    source = read(tmp_path)
    assert source.class_names == ("ant", "wren")
    assert source.test.images.paths.tolist() == ["TEST/ant/000.png", "TEST/wren/000.png"]


def test_one_class_is_a_folder_too_many(tmp_path):
    fill(tmp_path / "photos", wren=3, ant=2)
    with pytest.raises(UserError, match="has one folder, photos, so one class: name the folder that holds the classes"):
        read(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, bus=2, train=2)
    assert read(tmp_path).class_names == ("bus", "train")


def test_links_lead_out_of_the_root_only_where_that_is_allowed(tmp_path):
    fill(tmp_path / "elsewhere", a=5)
    fill(tmp_path / "root", b=5)
    (tmp_path / "root/a").symlink_to(tmp_path / "elsewhere/a")
    (tmp_path / "root/b/one.png").symlink_to(tmp_path / "elsewhere/a/001.png")
    with pytest.raises(UserError) as error:
        read(tmp_path / "root")
    told = str(error.value)
    assert "6 outside the root (" in told
    assert "--config.data.photos.allow_outside=True" in told
    assert "  .: outside the root: a/000.png\n" in told
    assert "  .: outside the root: b/one.png" in told
    assert np.bincount(read(tmp_path / "root", allow_outside=True).train.labels).tolist() == [4, 5]


def test_links_within_the_root_and_a_root_that_is_a_link_are_followed(tmp_path):
    fill(tmp_path / "real", b=5)
    (tmp_path / "real/a").symlink_to("b")
    (tmp_path / "real/b/one.png").symlink_to("000.png")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert np.bincount(read(tmp_path / "root").train.labels).tolist() == [5, 5]


def test_links_inside_a_class_are_followed_but_not_round_and_round(tmp_path, capsys):
    fill(tmp_path / "root", a=3, b=2)
    (tmp_path / "elsewhere/more").mkdir(parents=True)
    (tmp_path / "root/a/again").symlink_to(tmp_path / "root/a")
    (tmp_path / "elsewhere/more/back").symlink_to(tmp_path / "root/a")
    (tmp_path / "root/a/more").symlink_to(tmp_path / "elsewhere/more")
    with pytest.raises(UserError, match="1 outside the root"):
        read(tmp_path / "root")
    source = read(tmp_path / "root", allow_outside=True)
    assert len(source.train) + len(source.test) == 5
    assert "2 links to folders read before ignored, such as a/again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root.joinpath("1.jpg").write_text("x"), "has no folders; make one for each class"),
        (lambda root: fill(root / "test", a=1), "has test but no train"),
        (lambda root: (fill(root / "train", a=1), fill(root, b=1)), "has b beside train"),
        (lambda root: [fill(root / part, a=1) for part in ("train", "val", "validation")], "both val and validation"),
    ],
)
def test_another_layout_is_refused(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_all_problems_come_in_one_report(tmp_path):
    fill(tmp_path / "train", a=3, b=2)
    fill(tmp_path / "test", a=1, c=1)
    (tmp_path / "train/empty").mkdir()
    (tmp_path / "train/b/000.png").write_bytes(b"")
    (tmp_path / "train/a/broken.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError) as error:
        read(tmp_path)
    told = str(error.value)
    for line in (
        "mine: 4 problems",
        "  train: empty file: train/b/000.png",
        "  train: missing: train/a/broken.jpg",
        "  train: class without training image: empty",
        "  test: class unknown to training: c",
    ):
        assert line in told.split("\n")


def test_a_name_that_is_not_utf8_is_told_in_print(tmp_path):
    fill(tmp_path, a=3, b=3)
    try:
        (tmp_path / "a/000.png").rename(tmp_path / os.fsdecode(b"a/caf\xe9.png"))
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    with pytest.raises(UserError, match=r"mine: 1 problem\n1 name that is not UTF-8") as error:
        read(tmp_path)
    assert str(error.value).encode().endswith(rb"a/caf\udce9.png")


# Given counts and the profiles of the cut.


def counts_file(path, counts):
    path.write_text(json.dumps(counts))
    return str(path)


def test_given_counts_keep_the_first_images_in_the_order_of_the_seed(tmp_path):
    fill(tmp_path / "train", a=9, b=9, c=9)
    fill(tmp_path / "test", a=1, b=1, c=1)
    keys = {"imbalance_ratio": 1.0, "subset_seed": 3, "validation_fraction": 0.0}
    for counts in ([2, 5, 1], [9, 9, 9]):
        photos = photographs.keys(counts=counts_file(tmp_path / "counts.json", counts))
        found = data.load(source="folder", name="m", path=str(tmp_path), profile="counts", photos=photos, **keys)
        assert found.counts.tolist() == counts
        labels = np.repeat([0, 1, 2], 9)
        assert found.positions.tolist() == longtail.select_long_tail(labels, counts, 3).tolist()


def test_counts_that_do_not_fit_are_named(tmp_path):
    fill(tmp_path / "train", a=3, b=3)
    fill(tmp_path / "test", a=1, b=1)

    def cut(counts):
        return data.cut(read(tmp_path), profile="counts", imbalance_ratio=1.0, counts=np.array(counts))

    with pytest.raises(UserError, match=r"class 1 has 3 training images but .* asks for 4: .*smaller counts"):
        cut([3, 4])
    with pytest.raises(UserError, match=r"data\.photos\.counts holds 3 numbers for the 2 classes of mine"):
        cut([1, 1, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"a": 1}', "must hold a JSON list"),
        ("[]", "must hold a JSON list"),
        ("[3, 0]", "class 1 has 0 in"),
        ("[3, 2.0]", r"class 1 has 2\.0 in"),
        ("[true]", "class 0 has True in"),
        ('["3"]', "class 0 has '3' in"),
    ],
)
def test_a_bad_counts_file_is_named(tmp_path, text, message):
    path = tmp_path / "counts.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        class_counts.read(str(path))
    with pytest.raises(UserError, match=r"config\.data\.photos\.counts: there is no file"):
        class_counts.read(str(tmp_path / "none.json"))


def test_the_published_counts_are_such_files():
    assert class_counts.read(str(_shared("data/lt-lists/ImageNet_LT_train_cls_freq.json"))).sum() == 115_846
    assert class_counts.read(str(_shared("data/lt-lists/iNaturalist18_train_cls_freq.json"))).sum() == 437_513


def test_a_pareto_cut_of_a_folder(tmp_path):
    fill(tmp_path / "train", a=12, b=12, c=12, d=12)
    fill(tmp_path / "test", a=1)
    found = data.cut(read(tmp_path), profile="pareto", imbalance_ratio=6.0)
    assert found.counts.tolist() == longtail.pareto_counts(12, 4, 6.0).tolist()


def test_the_real_photographs_as_a_folder_have_the_counts_of_their_list(tmp_path):
    with zipfile.ZipFile(_shared("data/photos_lt.zip")) as archive:
        archive.extractall(tmp_path)
    dataset = data.cut(read(tmp_path), profile="none", imbalance_ratio=1.0)
    assert (len(dataset.splits["train"]), len(dataset.splits["test"]), dataset.num_classes) == (1_887, 505, 101)
    assert (dataset.counts.max(), dataset.counts.min()) == (60, 3)
    assert list(dataset.class_names) == sorted((tmp_path / "class_names.txt").read_text().splitlines())
