"""What the data's fingerprint stands for: every byte of every image, wherever it is kept; and runs of before."""

import copy as copy_of
import functools
import json
import os
import shutil

import numpy as np
import pytest
from etils import epath
from packs import arguments, load
from photographs import config_of, four_classes
from PIL import Image
from test_photos import encoded, picture
from tiny import override

from gcl_jax import data
from gcl_jax.data import encoded_images as photographs_lib
from gcl_jax.data import packed
from gcl_jax.data.__main__ import main
from gcl_jax.data.files import Files
from gcl_jax.data.records import Records
from gcl_jax.errors import UserError
from gcl_jax.training import experiment
from gcl_jax.workdir import ownership
from gcl_jax.workdir.run_dir import RunDir

pytest.importorskip("gcl_jax.data.decode", reason="photographs need TensorFlow")
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return four_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture
def copy(classes, tmp_path):
    """Photographs to change."""
    return shutil.copytree(classes, tmp_path / "photos")


def black(file):
    Image.new("RGB", Image.open(file).size).save(file)


def last_byte(file):
    """One bit behind the image's end: the same pixels, size and time of change."""
    before = file.stat()
    content = bytearray(file.read_bytes() + b"\0")
    content[-1] = 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def same_size_and_time(file):
    before, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def swapped(file):
    other = max(file.parent.iterdir())
    first, second = file.read_bytes(), other.read_bytes()
    file.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("source", ["folder", "list"])
@pytest.mark.parametrize("change", [black, last_byte, same_size_and_time, swapped])
@pytest.mark.parametrize("part", ["train", "test"])
def test_photographs_replaced_under_their_names_are_other_data(classes, copy, source, change, part):
    before = load(copy, source).fingerprint
    assert before == load(classes, source).fingerprint  # wherever they lie
    change(min((copy / part / "ant").iterdir()))
    assert load(copy, source).fingerprint != before


def test_times_alone_are_no_change(copy):
    before = load(copy, "folder").fingerprint
    for file in copy.rglob("*.jpg"):
        os.utime(file, (1, 1))
    assert load(copy, "folder").fingerprint == before


def test_a_pack_stands_for_its_images(copy, tmp_path):
    main(arguments(copy, tmp_path / "one"))
    before = load(tmp_path / "one", "packed").fingerprint
    assert before == load(copy, "list").fingerprint
    black(copy / "train/bee/1.jpg")
    main(arguments(copy, tmp_path / "other"))
    after = load(tmp_path / "other", "packed").fingerprint
    assert after == load(copy, "list").fingerprint != before
    # The shards of the one under the index of the other, as far as that can be.
    index = json.loads((tmp_path / "one" / packed.INDEX).read_bytes())
    for part, split in json.loads((tmp_path / "other" / packed.INDEX).read_bytes())["splits"].items():
        index["splits"][part]["shards"] = split["shards"]
    (tmp_path / "other" / packed.INDEX).write_text(json.dumps(index))
    assert load(tmp_path / "other", "packed").fingerprint == after


def records(images):
    names = np.array([f"{i}.jpg" for i in range(len(images))], object)
    return Records(images, names, np.arange(len(images)), 32, "store", "prepare it again", change="tfds")


@pytest.mark.parametrize(
    "other",
    [
        lambda images: [images[1], images[0], images[2]],
        lambda images: [images[0], images[1], images[2][:-1] + b"\0"],
        lambda images: [encoded(picture(9)), *images[1:]],
    ],
)
def test_records_stand_for_their_images(other):
    images = [encoded(picture(i)) for i in range(3)]
    assert (
        records(images).content_digest()
        == records(list(images)).content_digest()
        != records(other(images)).content_digest()
    )
    assert records(images).legacy_digest() == records(other(images)).legacy_digest()


def test_names_size_and_decoding_are_part_of_it(classes, monkeypatch):
    paths = np.array(["train/ant/0.jpg", "train/ant/1.jpg"], object)
    one = Files(str(classes), paths, 32)
    found = {
        one.content_digest(),
        Files(str(classes), paths[::-1], 32).content_digest(),
        Files(str(classes), paths, 33).content_digest(),
    }
    monkeypatch.setattr(photographs_lib, "DECODING", "JPEG by another transform")
    assert len(found | {one.content_digest()}) == 4


def test_digests_follow_their_images(classes):
    dataset = load(classes, "folder")
    images = dataset.splits["train"].images
    assert images.digests.shape == (24, 32)
    chosen = np.array([5, 2, 17])
    part = images[chosen]
    read_anew = Files(images.root, images.paths[chosen], images.size)
    assert part.content_digest() == read_anew.content_digest()


def test_what_cannot_be_read_for_it_is_named(classes):
    images = Files(str(classes), np.array(["train/ant/0.jpg", "train/ant/none.jpg", "train/ant"], object), 32)
    with pytest.raises(UserError, match=r"2 of 3 images cannot be read: (.|\n)*none\.jpg: no such file\n.*Is a direct"):
        images.content_digest()


# Runs over them.

KEYS = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")


def elsewhere(config, path):
    """``config`` with its data in another place."""
    return override(copy_of.deepcopy(config), {"data.path": str(path)})


def dataset_of(config):
    return data.load(**{key: config.data[key] for key in KEYS}, photos=config.data.photos.to_dict())


def claim(config, run, *, finished=False):
    """What every start of a run does, also the one that finds it ``finished``."""
    RunDir(epath.Path(run), config).claim(functools.partial(dataset_of, config), lambda: None, finished=finished)


def look(config, run):
    """What `--eval_only` does."""
    RunDir(epath.Path(run), config).verify(lambda: dataset_of(config), lambda: None)


@pytest.fixture
def started(classes, tmp_path):
    """A config and the folder of a run that has saved a step."""
    config = config_of(classes, "folder", stages=("representation",))
    claim(config, tmp_path / "run")
    (tmp_path / "run/representation/checkpoints/2").mkdir(parents=True)
    return config, tmp_path / "run"


@pytest.fixture
def older(started):
    """The same as commit 8f92ab7 would have left it."""
    config, run = started
    known = json.loads((run / "config.json").read_text())
    assert known["training"]["data_fingerprint"] == dataset_of(config).fingerprint
    known["training"]["data_fingerprint"] = dataset_of(config).legacy_fingerprint
    (run / "config.json").write_text(json.dumps(known))
    return config, run


def test_a_run_is_refused_over_photographs_that_were_replaced(started, copy):
    config, run = elsewhere(started[0], copy), started[1]
    for step in (claim, look, functools.partial(claim, finished=True)):
        step(config, run)  # the same photographs elsewhere
    for file in (copy / "test").rglob("*.jpg"):
        black(file)
    for step in (claim, look):
        with pytest.raises(
            UserError, match=r"holds a run on other data .images, labels or names of files are not what they were"
        ):
            step(config, run)


@pytest.mark.slow
def test_a_real_run_is_refused_over_them_and_an_older_one_is_evaluated(copy, tmp_path, capsys):
    config, run = config_of(copy, "folder", stages=("representation",), representation__epochs=1), tmp_path / "run"
    result = experiment.run(config, str(run))
    assert result["data"]["fingerprint"] == dataset_of(config).fingerprint
    known = (run / "config.json").read_text()
    (run / "config.json").write_text(
        known.replace(result["data"]["fingerprint"], dataset_of(config).legacy_fingerprint)
    )
    assert experiment.run(config, str(run), eval_only=True)["final"] == result["final"]
    assert "is of an older gcl_jax" in capsys.readouterr().out
    (run / "config.json").write_text(known)
    black(copy / "test/ant/9.jpg")
    with pytest.raises(UserError, match="images, labels or names of files are not what they were"):
        experiment.run(config, str(run), eval_only=True)
    (run / "result.json").unlink()
    with pytest.raises(UserError, match="images, labels or names of files are not what they were"):
        experiment.run(config, str(run))


# Runs up to commit 8f92ab7, in which photographs were known by their names.


def test_their_fingerprint_is_what_that_commit_computed(classes):
    assert load(classes, "folder").legacy_fingerprint.startswith("7df0a5ff13f0ced7")


def test_one_that_is_looked_at_says_a_word(older, capsys):
    config, run = older
    look(config, run)
    ownership.require_own_data(epath.Path(run), dataset_of(config))
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert all("is of an older gcl_jax, which decoded JPEG to slightly other pixels" in line for line in told)


def test_a_finished_one_is_shown_where_its_data_lie_elsewhere(older, classes, tmp_path, capsys):
    shutil.copytree(classes, tmp_path / "moved")
    claim(elsewhere(older[0], tmp_path / "moved"), older[1], finished=True)
    assert "is of an older gcl_jax" in capsys.readouterr().out
    claim(*older, finished=True)  # where nothing is read
    assert capsys.readouterr().out == ""


def test_an_unfinished_one_is_refused_in_a_line_that_says_why(older):
    before = (older[1] / "config.json").read_text()
    told = r"^the run in .* is of an older gcl_jax, which decoded JPEG .*: train it to its end with that version, or"
    with pytest.raises(UserError, match=told) as error:
        claim(*older)
    assert "\n" not in str(error.value)
    assert (older[1] / "config.json").read_text() == before


def test_one_that_has_saved_nothing_is_begun_anew(older):
    shutil.rmtree(older[1] / "representation")
    claim(*older)
    known = json.loads((older[1] / "config.json").read_text())
    assert known["training"]["data_fingerprint"] == dataset_of(older[0]).fingerprint


def test_one_of_other_names_is_refused_as_before(older, copy):
    (copy / "train/ant/0.jpg").rename(copy / "train/ant/00.jpg")
    for step in (claim, look):
        with pytest.raises(UserError, match=r"holds a run on other data "):
            step(elsewhere(older[0], copy), older[1])


def test_arrays_have_the_fingerprint_that_they_had():
    keys = {"name": "digits", "path": "", "profile": "none", "imbalance_ratio": 1.0, "subset_seed": 0}
    dataset = data.load(source="digits", validation_fraction=0.0, **keys)
    assert dataset.fingerprint == dataset.legacy_fingerprint
    assert dataset.fingerprint.startswith("2b627e1f43a6e9f6")  # computed by commit 8f92ab7
