"""A run that meets other data than it was started with is told what is other: classes, numbers or content."""

import json
import re

import photographs
import pytest
from etils import epath
from tiny import digits, override

from gcl_jax.data import corrupt
from gcl_jax.errors import UserError
from gcl_jax.training.run_context import RunContext
from gcl_jax.workdir.run_dir import RunDir


@pytest.fixture(autouse=True)
def without_decoding(monkeypatch):
    monkeypatch.setattr(corrupt, "drop_corrupt", lambda source, on_bad_image: source)


@pytest.fixture
def photos(tmp_path):
    for part, numbers in (("train", {"ant": 3, "bee": 2, "cat": 2}), ("test", {"ant": 1, "bee": 1, "cat": 1})):
        for name, number in numbers.items():
            for i in range(number):
                photographs.write(tmp_path / "photos" / part / name / f"{i}.jpg", comment=f"{part}{name}{i}")
    return tmp_path / "photos"


def claim(photos, *, look=False):
    """A run's folder is claimed on these photographs, or only looked at; something is saved in it."""
    given = {"data.source": "folder", "data.path": str(photos), "data.profile": "none", "data.loader": "host"}
    config, root = override(digits(), given), epath.Path(photos.parent / "run")
    dataset = RunContext(config).dataset
    more = {"dataset": lambda: dataset, "check_starts": lambda: None}
    if look:
        RunDir(root, config).verify(**more)
    else:
        RunDir(root, config).claim(finished=False, **more)
        (root / "representation/checkpoints/1").mkdir(parents=True, exist_ok=True)
    return config


def rename(photos, old, new):
    for part in ("train", "test"):
        (photos / part / old).rename(photos / part / new)


def swap(photos):
    rename(photos, "ant", "x")
    rename(photos, "bee", "ant")
    rename(photos, "x", "bee")


def copied(photos, path, name):
    (photos / path).with_name(name).write_bytes((photos / path).read_bytes() + b"x")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: rename(p, "bee", "wasp"), "class 'bee' is gone, class 'wasp' is new"),
        (lambda p: rename(p, "ant", "Ant"), "class 'ant' is gone, class 'Ant' is new"),
        (
            lambda p: (rename(p, "ant", "a"), rename(p, "bee", "b")),
            "classes 'ant', 'bee' are gone, classes 'a', 'b' are",
        ),
        (swap, "training images of class 'ant': 3 -> 2, class 'bee': 2 -> 3"),
        (
            lambda p: copied(p, "train/cat/0.jpg", "9.jpg"),
            "train images: 7 -> 8; training images of class 'cat': 2 -> 3",
        ),
        (lambda p: copied(p, "test/cat/0.jpg", "9.jpg"), "test images: 3 -> 4"),
        (lambda p: (p / "train/cat/0.jpg").rename(p / "train/cat/9.jpg"), "images, labels or names of files are not"),
        (lambda p: (p / "test").rename(p / "test_"), None),
    ],
)
def test_what_differs_is_named(photos, change, told):
    claim(photos)
    change(photos)
    if told is None:
        with pytest.raises(UserError, match="test_ beside train"):
            claim(photos)
        return
    for look in (False, True):
        with pytest.raises(UserError, match=f"run holds a run on other data .{re.escape(told)}.*put the data") as error:
            claim(photos, look=look)
        assert "fingerprint" not in str(error.value)


@pytest.mark.parametrize("kept", [None, [], {"class_names": 3}, {"class_names": ["ant"]}, "text"])
def test_a_run_of_an_older_version_or_damaged_is_told_less(photos, kept):
    claim(photos)
    file = photos.parent / "run/config.json"
    known = json.loads(file.read_text())
    known["data"] = kept
    file.write_text(json.dumps(known))
    rename(photos, "bee", "wasp")
    with pytest.raises(UserError, match="holds a run on other data"):
        claim(photos)


def test_a_class_renamed_back_is_the_same_data(photos):
    claim(photos)
    rename(photos, "bee", "wasp")
    rename(photos, "wasp", "bee")
    claim(photos)
