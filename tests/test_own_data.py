"""What is said of somebody's own data: their name, how many of them are used, and flags of python -m gcl_jax.data."""

import numpy as np
import photographs
import pytest
from conftest import ROOT

from gcl_jax import data
from gcl_jax.data.__main__ import main, parse
from gcl_jax.errors import UserError


def write(folder, name, counts, **changed):
    y = np.repeat(np.arange(len(counts)), counts)
    given = {"x_train": np.zeros((len(y), 4, 4, 3), np.uint8), "y_train": y} | {
        "x_test": np.zeros((8, 4, 4, 3), np.uint8), "y_test": np.arange(8) % len(counts)
    }  # fmt: skip
    np.savez(folder / name, **given | changed)
    return str(folder / name)


def load(path, source="arrays", name="cifar10", profile="exponential", ratio=100.0):
    return data.load(
        source=source, name=name, path=path, profile=profile, imbalance_ratio=ratio, subset_seed=0,
        validation_fraction=0.0, photos=photographs.keys(size=4, resize=4),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "ratio", "counts", "used"),
    [("exponential", 10.0, [60, 60, 60], 84), ("step", 10.0, [60, 60, 60], 72), ("pareto", 10.0, [60, 60, 60], 90)],
)
def test_what_a_profile_leaves_out_is_said(tmp_path, capsys, profile, ratio, counts, used):
    dataset = load(write(tmp_path, "mine.npz", counts), profile=profile, ratio=ratio)
    assert len(dataset.splits["train"]) == used
    told = f"(data.profile is {profile!r}; --config.data.profile=none uses all)"
    assert f"mine.npz: training takes {used} of 180 training images {told}" in capsys.readouterr().out


def test_nothing_is_said_where_all_are_used(tmp_path, capsys):
    assert len(load(write(tmp_path, "mine.npz", [9, 5, 2]), profile="none").splits["train"]) == 16
    assert "training takes" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "ratio", "told"),
    [
        ([9, 5, 2], 1.5, "class 2 has 2 training images but"),
        ([9, 5, 2], 100.0, "leaves class"),
        ([90, 1], 2.0, "class 1 has 1"),
    ],
)
def test_a_profile_that_does_not_fit_names_the_cure(tmp_path, counts, ratio, told):
    with pytest.raises(UserError, match=rf"{told}.*--config\.data\.profile=none to train on the data as they are"):
        load(write(tmp_path, "mine.npz", counts), ratio=ratio)


@pytest.mark.parametrize("name", ["digits", "cifar10", "mine"])
def test_arrays_are_called_by_their_file(tmp_path, name):
    path = write(tmp_path, "groceries.npz", [2, 2], y_train=np.array(["ant", "bee", "ant", "bee"]))
    with pytest.raises(
        UserError, match=r"^.*groceries\.npz: y_train has dtype <U3; labels must be integers 0\.\.C-1, and"
    ):
        load(path, name=name)


@pytest.mark.parametrize(
    ("source", "path", "title"),
    [("arrays", "a/groceries.npz", "groceries"), ("folder", "photos/groceries/", "groceries"), ("list", ".", "."),
     ("packed", "", "packed"), ("digits", "", "digits"), ("tfds", "x", "digits")],
)  # fmt: skip
def test_only_the_digits_are_called_digits(source, path, title):
    assert data.title(source, "digits", path) == title
    assert data.title(source, "mine", path) == "mine"


def test_a_report_of_problems_calls_the_data_by_their_folder(tmp_path):
    photographs.write(tmp_path / "groceries/apple/1.jpg")
    (tmp_path / "groceries/pear").mkdir()
    with pytest.raises(UserError, match=r"^groceries: 1 problem\n1 class without training image"):
        load(str(tmp_path / "groceries"), "folder", name="digits", profile="none")


def test_inspect_says_what_is_used_and_how_data_are_called(tmp_path, capsys):
    flags = ["data.source=arrays", "data.imbalance_ratio=10", f"data.path={write(tmp_path, 'own.npz', [60, 60, 60])}"]
    main(["inspect", f"--config={ROOT}/configs/digits_lt.py:ce", *(f"--config.{flag}" for flag in flags)])
    out = capsys.readouterr().out
    assert "source      arrays, 'own'\n" in out
    assert "cut         84 of 180 training images (data.profile is 'exponential'; --config.data.profile=none" in out


PACK = ["pack", f"--config={ROOT}/configs/photos_lt.py:gcl,photos", "--out=out"]


@pytest.mark.parametrize(
    "value", ["0", "-1", "00", "65501", "9" * 400, "9" * 5000, "1.5", "1e3", "", "1_000", "\u0661", "nan"]
)
def test_a_shorter_side_has_a_range(value):
    with pytest.raises(UserError, match=r"^argument --shorter: '.*' is no number from 1 to 65500; without it") as error:
        parse([*PACK, f"--shorter={value}"])
    assert len(str(error.value)) < 150


def test_a_shorter_side_in_range_is_taken_and_left_out_is_none():
    assert parse([*PACK, "--shorter=256"])[0].shorter == 256
    assert parse([*PACK, "--shorter=65500"])[0].shorter == 65500
    assert parse(PACK)[0].shorter == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", PACK[1], "--shorter=256"], "--shorter is for pack: leave it out"),
        (["inspect", PACK[1], "--out=there"], "--out is for pack: leave it out"),
        ([*PACK, "--decode"], "--decode is for inspect: leave it out"),
    ],
)
def test_a_flag_of_the_other_command_is_refused(arguments, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        parse(arguments)
