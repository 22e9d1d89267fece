"""Photographs by list: what is read, and one report of all that is wrong."""

import functools
import json
import os
import time
import zipfile

import numpy as np
import photographs
import pytest
import scipy.stats
from conftest import _shared
from test_sampling import ERROR, pooled

from gcl_jax import config as config_lib
from gcl_jax import data, longtail, rng, sampling
from gcl_jax.data import annotations, entries, lists
from gcl_jax.errors import UserError


@pytest.fixture
def good(tmp_path):
    """An image root of two classes with three training images and one test image each, and its lists."""
    lines = {"train": [], "test": []}
    for label, animal in enumerate(("bee", "ant colony")):
        for part, numbers in (("train", "123"), ("test", "4")):
            for number in numbers:
                photographs.write(tmp_path / "root" / part / animal / f"{number}.jpg")
                lines[part].append(f"{part}/{animal}/{number}.jpg {label}")
    return Lists(tmp_path, lines)


class Lists:
    """Lists that a test spoils before it reads them."""

    def __init__(self, folder, lines):
        self.folder, self.root, self.lines = folder, folder / "root", lines

    def photos(self, **given):
        files = {}
        for part, lines in self.lines.items():
            files[f"{part}_list"] = self.folder / f"{part}.txt"
            files[f"{part}_list"].write_bytes("\n".join(lines).encode())
        return photographs.keys(**(files | given))

    def read(self, **given):
        return lists.read("mine", str(self.root), self.photos(**given))


# What is read.


def test_a_list_becomes_a_source_whose_classes_are_called_after_their_folders(good):
    source = good.read(size=32)
    assert source.train.images.shape == (6, 32, 32, 3)
    assert source.train.images.paths.tolist()[3] == "train/ant colony/1.jpg"
    assert os.path.isfile(source.train.images.where(3))
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (source.test.labels.tolist(), source.test.labels.dtype) == ([0, 1], np.int32)
    assert source.class_names == ("bee", "ant colony")
    assert source.validation is None
    dataset = data.cut(source, profile="none", imbalance_ratio=1.0)
    assert dataset.counts.tolist() == [3, 3]


def test_blank_lines_tabs_windows_line_ends_and_a_byte_order_mark_are_fine():
    found = entries.parse("a/1.jpg 0\r\n\r\n  \nb c/2 3.jpg\t12\r\n", "train.txt")
    assert found.paths == ("a/1.jpg", "b c/2 3.jpg")
    assert found.labels.tolist() == [0, 12]
    assert found.numbers == (1, 4)
    assert not found.problems


def test_a_byte_order_mark_is_no_part_of_the_first_path(good):
    good.lines["train"][0] = "\ufeff" + good.lines["train"][0]
    assert good.read().train.images.paths[0] == "train/bee/1.jpg"


def test_classes_that_share_a_folder_are_called_by_their_numbers(good):
    good.lines["train"][3] = good.lines["train"][3].replace("ant colony", "bee").replace("1.jpg", "7.jpg")
    photographs.write(good.root / "train/bee/7.jpg")
    assert good.read().class_names == ("0", "1")


def test_a_validation_list_is_a_split_and_may_repeat_the_test_images(good):
    good.lines["validation"] = good.lines["test"]
    dataset = data.cut(good.read(), profile="none", imbalance_ratio=1.0)
    assert dataset.splits["validation"].images.paths.tolist() == dataset.splits["test"].images.paths.tolist()


def test_the_loader_of_data_takes_the_same_keys(good):
    keys = {key: config_lib.DATA[key] for key in ("imbalance_ratio", "subset_seed", "validation_fraction")}
    dataset = data.load(source="list", name="m", path=str(good.root), profile="none", photos=good.photos(), **keys)
    assert dataset.counts.tolist() == [3, 3]


# What is wrong.


SPOILT = {
    "malformed": (lambda g: g.lines["test"].append("nothing-else"), "test.txt, line 3: malformed: 'nothing-else'"),
    "no integer": (lambda g: g.lines["test"].append("a.jpg 1.0"), "test.txt, line 3: bad label: '1.0' of a.jpg"),
    "negative": (lambda g: g.lines["train"].append("a.jpg -1"), "train.txt, line 7: bad label: '-1' of a.jpg"),
    "of another script": (lambda g: g.lines["train"].append("a.jpg \u0663"), "train.txt, line 7: bad label"),
    "of 99 digits": (lambda g: g.lines["train"].append("a.jpg " + "9" * 99), "train.txt, line 7: bad label"),
    "out of range": (
        lambda g: g.lines["test"].__setitem__(0, "test/bee/4.jpg 2"),
        "test.txt, line 1: bad label: 2 of test/bee/4.jpg is outside 0..1",
    ),
    "more classes than images": (
        lambda g: g.lines["train"].__setitem__(5, "train/ant colony/3.jpg 300000000"),
        "train.txt, line 6: bad label: 300000000 of train/ant colony/3.jpg is outside 0..1",
    ),
    "gap": (
        lambda g: g.lines["train"].__setitem__(5, "train/ant colony/3.jpg 3"),
        "train.txt: class without training image: class 2 of 0..3",
    ),
    "twice": (
        lambda g: g.lines["train"].append("train/./bee//2.jpg 0"),
        "train.txt, line 7: duplicate: train/./bee//2.jpg stands in train.txt, line 2 already",
    ),
    "in train and test": (
        lambda g: g.lines["test"].append("train/bee/2.jpg 0"),
        "test.txt, line 3: duplicate: train/bee/2.jpg stands in train.txt, line 2 already",
    ),
    "missing": (lambda g: g.lines["test"].append("test/bee/9.jpg 0"), "test.txt, line 3: missing: test/bee/9.jpg"),
    "a folder": (lambda g: g.lines["test"].append("test/bee 0"), "test.txt, line 3: missing: test/bee"),
    "a null byte": (lambda g: g.lines["test"].append("test/b\0e 0"), "test.txt, line 3: missing: test/b\0e"),
    "a null byte in a folder": (
        lambda g: g.lines["test"].append("te\0st/bee/4.jpg 0"),
        "test.txt, line 3: outside the root",
    ),
    "empty": (
        lambda g: (g.root / "test/bee/4.jpg").write_bytes(b""),
        "test.txt, line 1: empty file: test/bee/4.jpg",
    ),
    "up and out": (
        lambda g: g.lines["test"].append("../train.txt 0"),
        "test.txt, line 3: outside the root: ../train.txt",
    ),
    "up and back": (lambda g: g.lines["test"].append("../root/test/bee/4.jpg 0"), "test.txt, line 3: outside the root"),
    "absolute": (lambda g: g.lines["test"].append(f"{g.root}/test/bee/4.jpg 0"), "test.txt, line 3: outside the root"),
    "linked folder": (
        lambda g: ((g.root / "out").symlink_to(g.folder), g.lines["test"].append("out/train.txt 0")),
        "test.txt, line 3: outside the root: out/train.txt",
    ),
    "linked file": (
        lambda g: ((g.root / "o.jpg").symlink_to(g.folder / "train.txt"), g.lines["test"].append("o.jpg 0")),
        "test.txt, line 3: outside the root: o.jpg",
    ),
    "broken link": (
        lambda g: ((g.root / "o.jpg").symlink_to(g.root / "nowhere.jpg"), g.lines["test"].append("o.jpg 0")),
        "test.txt, line 3: missing: o.jpg",
    ),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_every_problem_is_named_with_list_and_line(good, spoilt):
    spoil, message = SPOILT[spoilt]
    spoil(good)
    with pytest.raises(UserError) as error:
        good.read()
    assert f"\n  {message}" in str(error.value)
    assert str(error.value).startswith("mine: 1 problem\n1 ")


def test_all_problems_of_all_lists_come_in_one_report(good):
    good.lines["train"] += ["broken", "train/bee/1.jpg 0", *(f"train/bee/none{i}.jpg 0" for i in range(12))]
    good.lines["test"] += ["test/bee/4.jpg x", "../secret.jpg 1", "test/bee/4.jpg 5"]
    (good.root / "train/bee/3.jpg").write_bytes(b"")
    with pytest.raises(UserError) as error:
        good.read()
    lines = str(error.value).split("\n")
    assert lines[0] == "mine: 19 problems"
    numbers = [" ".join(line.partition(" (")[0].split()) for line in lines[1:8]]
    assert numbers == [
        "1 malformed", "2 bad label", "2 duplicate", "1 outside the root", "12 missing", "1 empty file",
        "train.txt, line 7: malformed: 'broken'",
    ]  # fmt: skip
    assert all("(" in line for line in lines[1:7])  # each kind has its cure
    assert len(lines) == 1 + 6 + 10 + 1
    assert lines[-1] == "  and 9 more"


def test_empty_files_that_are_skipped_are_left_to_the_reader_who_counts_them(good):
    (good.root / "test/bee/4.jpg").write_bytes(b"")
    assert len(good.read(on_bad_image="skip").test) == 2


def test_links_inside_the_root_are_followed(good):
    (good.root / "linked").symlink_to(good.root / "test")
    good.lines["test"] = [line.replace("test/", "linked/") for line in good.lines["test"]]
    assert len(good.read().test) == 2


def test_a_root_may_be_a_link(good):
    (good.folder / "link").symlink_to(good.root)
    good.root = good.folder / "link"
    assert len(good.read().test) == 2


@pytest.mark.parametrize("annotated", [False, True])
def test_what_is_outside_the_root_is_read_only_where_that_is_allowed(good, annotated):
    outside = [photographs.write(good.folder / "elsewhere" / f"{i}.jpg") for i in range(4)]
    (good.root / "out").symlink_to(outside[0].parent)
    (good.root / "out.jpg").symlink_to(outside[1])
    paths = ["out/0.jpg", "out.jpg", "../elsewhere/2.jpg", str(outside[3])]
    good.lines["test"] += [f"{path} 1" for path in paths]
    given = {}
    if annotated:  # the same as iNaturalist has it
        for part, lines in good.lines.items():
            found = entries.parse("\n".join(lines), "")
            blocks = {
                "images": [{"id": i, "file_name": path} for i, path in enumerate(found.paths)],
                "annotations": [{"image_id": i, "category_id": label} for i, label in enumerate(found.labels.tolist())],
                "categories": [{"id": i, "name": str(i)} for i in range(2)],
            }
            given[f"{part}_list"] = good.folder / f"{part}.json"
            given[f"{part}_list"].write_text(json.dumps(blocks))
    with pytest.raises(UserError) as error:
        good.read(**given)
    told = str(error.value).split("\n")
    assert told[1].startswith("4 outside the root (")
    assert "--config.data.photos.allow_outside=True" in told[1]
    assert [line.rsplit("outside the root: ", 1)[1] for line in told[2:]] == paths
    images = good.read(**given, allow_outside=True).test.images
    assert [images.encoded(i) for i in range(2, 6)] == [file.read_bytes() for file in outside]


def test_a_root_and_a_list_that_are_missing_are_named(good):
    photos = good.photos()
    with pytest.raises(UserError, match=r"config\.data\.path: there is no folder .*nowhere"):
        lists.read("mine", str(good.folder / "nowhere"), photos)
    with pytest.raises(UserError, match=r"config\.data\.photos\.test_list: there is no file .*none\.txt"):
        good.read(test_list=good.folder / "none.txt")
    (good.folder / "latin.txt").write_bytes("caf\xe9.jpg 0".encode("latin-1"))
    with pytest.raises(UserError, match=r"config\.data\.photos\.test_list: .*latin\.txt is no text in UTF-8"):
        good.read(test_list=good.folder / "latin.txt")
    (good.folder / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match=r"config\.data\.photos\.train_list: .*empty\.txt is empty"):
        good.read(train_list=good.folder / "empty.txt")


# iNaturalist's annotations.


def inaturalist(**changed):
    blocks = {
        "images": [{"id": 70 + i, "file_name": f"train/ant colony/{i}.jpg"} for i in (1, 2, 3)],
        "annotations": [{"id": i, "image_id": 70 + i, "category_id": int(i > 1)} for i in (3, 2, 1)],
        "categories": [{"id": 1, "name": "Apis mellifera"}, {"id": 0, "name": "Formica rufa"}],
    }
    return json.dumps(blocks | changed)


def test_annotations_give_paths_labels_and_class_names(good):
    train, test = good.folder / "train2018.json", good.folder / "val2018.json"
    train.write_text(inaturalist())
    test.write_text(inaturalist(images=[{"id": 71, "file_name": "test/bee/4.jpg"}]))
    source = good.read(train_list=train, test_list=test)
    assert source.train.images.paths.tolist() == [f"train/ant colony/{i}.jpg" for i in (1, 2, 3)]
    assert source.train.labels.tolist() == [0, 1, 1]
    assert source.test.labels.tolist() == [0]
    assert source.class_names == ("Formica rufa", "Apis mellifera")


def test_annotations_of_other_categories_than_trainings_are_refused(good):
    train, test = good.folder / "train2018.json", good.folder / "val2018.json"
    train.write_text(inaturalist())
    test.write_text(inaturalist(categories=[{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]))
    with pytest.raises(UserError, match="test_list has other categories than train_list"):
        good.read(train_list=train, test_list=test)


@pytest.mark.parametrize(
    ("changed", "kind", "where"),
    [
        ({"images": [{"id": 71}]}, "malformed", "x.json, image 1"),
        ({"images": [{"id": True, "file_name": "a"}]}, "malformed", "x.json, image 1"),
        ({"images": ["a"]}, "malformed", "x.json, image 1"),
        ({"images": [{"id": 9, "file_name": "a"}]}, "malformed", "x.json, image 1"),
        ({"annotations": [{"image_id": 70 + i, "category_id": i - 2} for i in (1, 2, 3)]},
         "bad label", "x.json, image 1"),
        ({"annotations": [{"image_id": i, "category_id": i % 2} for i in (71, 72, 73)]
          + [{"image_id": 72, "category_id": 1}]}, "bad label", "x.json, image 2"),
        ({"annotations": [{"image_id": i, "category_id": 0} for i in (71, 72, 73)] + [{"image_id": [1]}]},
         "malformed", "x.json, annotation 4"),
        ({"annotations": [{"image_id": i, "category_id": 0} for i in (71, 72, 73)]
          + [{"image_id": 73, "category_id": False}]}, "malformed", "x.json, annotation 4"),
    ],
)  # fmt: skip
def test_bad_annotations_are_problems(changed, kind, where):
    (problem,) = annotations.parse(inaturalist(**changed), "x.json").problems
    assert (problem.kind, problem.where) == (kind, where)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/1.jpg 0", "x.json is no JSON"),
        ("[" * 100_000, "x.json is no JSON"),
        ("[]", "x.json has no list 'images'"),
        (inaturalist(categories={}), "x.json has no list 'categories'"),
        (inaturalist(categories=[{"id": 0}]), r"x.json: the category \{'id': 0\} has no id and name"),
        (inaturalist(categories=[{"id": 0, "name": "a"}] * 2), "x.json: the category .* has no id and name of its own"),
        (inaturalist(categories=[{"id": 1, "name": "a"}]), "x.json: category ids run from 1 to 1"),
    ],
)
def test_what_is_no_annotation_file_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        annotations.parse(text, "x.json")


# The published lists.


@pytest.mark.parametrize(("part", "lines"), [("train", 62_500), ("val", 7_300), ("test", 36_500)])
def test_places_lt(part, lines):
    found = entries.parse(_shared(f"data/lt-lists/Places_LT_{part}.txt").read_text(), part)
    assert not found.problems
    assert len(found.paths) == len(set(found.paths)) == lines
    counts = longtail.class_counts(found.labels, 365)
    assert len(counts) == 365
    ends = {"train": (4_980, 5), "val": (20, 20), "test": (100, 100)}[part]
    assert (counts.max(), counts.min()) == ends


def test_imagenet_lt_val():
    found = entries.parse(_shared("data/lt-lists/ImageNet_LT_val.txt").read_text(), "val")
    assert not found.problems
    assert longtail.class_counts(found.labels, 1000).tolist() == [20] * 1000


def test_real_photographs(tmp_path):
    with zipfile.ZipFile(_shared("data/photos_lt.zip")) as archive:
        archive.extractall(tmp_path)
    files = {f"{part}_list": tmp_path / f"photos_lt_{part}.txt" for part in ("train", "test")}
    dataset = data.cut(
        lists.read("photos_lt", str(tmp_path), photographs.keys(**files)), profile="none", imbalance_ratio=1.0
    )
    assert (len(dataset.splits["train"]), len(dataset.splits["test"]), dataset.num_classes) == (1_887, 505, 101)
    assert (dataset.counts.max(), dataset.counts.min()) == (60, 3)
    assert list(dataset.class_names) == (tmp_path / "class_names.txt").read_text().splitlines()


# Published class counts: shots and sampling.


@pytest.fixture(scope="module", params=["ImageNet_LT", "iNaturalist18"])
def published(request):
    return np.array(json.loads(_shared(f"data/lt-lists/{request.param}_train_cls_freq.json").read_text()))


SHOTS = {1000: {19: [385, 479, 136], 20: [385, 469, 146]}, 8142: {19: [842, 4_076, 3_224], 20: [842, 3_701, 3_599]}}


def test_shots_by_both_conventions(published):
    for max_few, expected in SHOTS[len(published)].items():
        groups = longtail.shot_groups(published, max_few=max_few)
        assert [int(group.sum()) for group in groups.values()] == expected
        assert np.all(sum(group.astype(int) for group in groups.values()) == 1)
    assert longtail.shot_groups(published)["few"].sum() == SHOTS[len(published)][19][2]


# Mass of a class as in equations 11 to 13 of the paper and in Cui et al., in the order printed.
MASSES = {
    "class_balanced": lambda n: np.ones(len(n)),
    "effective_number": lambda n: n * (1 - 0.9999) / (1 - 0.9999**n),
    "cben": lambda n: n * (1 - beta_of(n)) / (1 - beta_of(n) ** n),
}


def beta_of(n):
    delta = np.log(n.max()) - np.log(n)
    return 0.0009 * (delta - delta.min()) / (delta.max() - delta.min()) + 0.999


@pytest.mark.parametrize("name", MASSES)
def test_plans_over_the_published_counts_draw_classes_as_promised(published, name):
    """Chi-square at ERROR, as in test_sampling.py, over six plans: 6e-6 in all; one epoch takes well below 5 s."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(published)), published)).astype(np.int32)
    assert len(labels) in (115_846, 437_513)
    make = functools.partial(rng.numpy_generator, 0, "test", "plan", name)
    start = time.process_time()
    plan = sampling.epoch_plan(sampling.SAMPLERS[name](), make, labels, 256).ravel()
    assert time.process_time() - start < 5
    assert len(plan) == len(labels) // 256 * 256
    mass = MASSES[name](published.astype(float))
    observed = np.bincount(labels[plan], minlength=len(published)).astype(float)
    expected = len(plan) * mass / mass.sum()
    assert scipy.stats.chisquare(*pooled(observed, expected)).pvalue > ERROR
    # What it would take for a test of this size to fail: instance-balanced sampling.
    wrong = len(plan) * published / published.sum()
    assert scipy.stats.chisquare(*pooled(observed, wrong)).pvalue < ERROR
