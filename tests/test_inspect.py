"""python -m gcl_jax.data inspect, and the kinds of images that it tells apart."""

import builtins

import numpy as np
import photographs
import pytest
from conftest import ROOT
from PIL import Image

from gcl_jax.data import image_kind
from gcl_jax.data.__main__ import main, parse
from gcl_jax.data.files import Files
from gcl_jax.errors import UserError

DIGITS = f"--config={ROOT}/configs/digits_lt.py:gcl"


@pytest.fixture
def noise(tmp_path):
    """A JPEG with something in it, so that half of it is no image."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.jpg")
    return tmp_path / "noise.jpg"


# Kinds of images.


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [
        ("RGB", "a.jpg", ("JPEG", "RGB")),
        ("L", "a.jpg", ("JPEG", "grayscale")),
        ("CMYK", "a.jpg", ("JPEG", "CMYK")),
        ("1", "a.png", ("PNG", "grayscale")),
        ("P", "a.gif", ("GIF", "palette")),
        ("P", "a.png", ("PNG", "palette")),
        ("RGBA", "a.png", ("PNG", "alpha")),
        ("LA", "a.png", ("PNG", "alpha")),
        ("I;16", "a.png", ("PNG", "16-bit")),
        ("RGB", "a.webp", ("WEBP", "RGB")),
        ("RGB", "a.bmp", ("BMP", "RGB")),
    ],
)
@pytest.mark.parametrize("decode", [False, True])
def test_the_kind_of_an_image(tmp_path, mode, name, expected, decode):
    found = image_kind.identify(photographs.write(tmp_path / name, mode).read_bytes(), decode=decode)
    assert (found.format, found.kind, found.width, found.height, found.reason) == (*expected, 8, 6, "")


def test_what_is_no_image_has_a_reason(tmp_path, noise):
    whole = noise.read_bytes()
    png = photographs.write(tmp_path / "a.png", size=(64, 48)).read_bytes()
    damaged = {
        "half.jpg": (whole[: len(whole) // 2], "cut off: copy or download it again (jpeg::"),
        "half.png": (png[:-30], ""),
        "flipped.png": (png[:45] + bytes([png[45] ^ 255]) + png[46:], ""),
        "text.jpg": (b"<html>not found</html>", "not an image (it is a web page)"),
        "empty.jpg": (b"", "empty file"),
    }
    for name, (content, reason) in damaged.items():
        (tmp_path / name).write_bytes(content)
        found = image_kind.identify((tmp_path / name).read_bytes())
        assert found.reason.startswith(reason), name
        assert found.reason, name
        assert not found.format
    assert image_kind.identify((tmp_path / "half.jpg").read_bytes(), decode=False).reason == ""  # its header is whole
    unreadable = Files(str(tmp_path), np.array(["none.jpg", "."]), 8)
    none, folder = image_kind.identify_all([(unreadable, 0), (unreadable, 1)])
    assert none.reason == "no such file"
    assert "Is a directory" in folder.reason


def test_without_pillow_the_cure_is_named(noise, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "PIL":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'gcl_jax\[photos\]'"):
        image_kind.identify(noise.read_bytes())


# The command.


@pytest.fixture
def good(tmp_path):
    """Two classes, 3 and 2 training images, with their lists; the arguments that inspect them."""
    lines = {"train": [], "test": []}
    for label, (animal, number) in enumerate((("ant", 3), ("bee", 2))):
        for i in range(number + 1):
            part = "test" if i == number else "train"
            path = tmp_path / animal / f"{i}.jpg"
            photographs.write(path, "L" if i else "RGB", size=(20 + i, 10), comment=f"{animal}{i}")
            lines[part].append(f"{animal}/{i}.jpg {label}")
    for part in lines:
        (tmp_path / f"{part}.txt").write_text("\n".join(lines[part]))
    return tmp_path


def arguments(root, *more, source="list"):
    lists = [f"--config.data.photos.{part}_list={root / part}.txt" for part in ("train", "test")]
    keys = [
        f"--config.data.source={source}",
        f"--config.data.path={root}",
        "--config.data.profile=none",
        "--config.data.loader=host",
    ]
    return ["inspect", DIGITS, *keys, *(lists if source == "list" else []), "--config.data.name=mine", *more]


def test_a_good_list_is_described(good, capsys):
    main(arguments(good))
    assert capsys.readouterr().out.splitlines() == [
        "source      list, 'mine'",
        f"root        {good}",
        "train       5 images",
        "test        2 images",
        "classes     2, training images from 3 (ant) to 2 (bee), imbalance ratio 1.5",
        "shots       many / medium / few: 0 / 0 / 2 (few < 20), 0 / 0 / 2 (few <= 20)",
        "files       7 of 7 looked at by their headers (--decode reads all of each)",
        "formats     JPEG 7",
        "pixels      grayscale 5, RGB 2",
        "sizes       width 20 to 23, median 21; height 10 to 10, median 10; shorter side 10 to 10, median 10",
        "nothing wrong found",
    ]


def test_all_problems_are_listed_and_the_status_is_1(good, capsys):
    with (good / "train.txt").open("a") as file:
        file.write(
            "\nant/9.jpg 0\nant/0.jpg 0\nbroken\n../x.jpg 1\n" + "\n".join(f"bee/none{i}.jpg 1" for i in range(9))
        )
    with pytest.raises(SystemExit) as status:
        main(arguments(good))
    assert status.value.code == 1
    told = capsys.readouterr().out.splitlines()
    assert "train       5 images" in told
    assert "13 problems" in told
    assert [line.partition(" (")[0] for line in told if line.startswith(("1 ", "10 "))] == [
        "1 malformed", "1 duplicate", "1 outside the root", "10 missing",
    ]  # fmt: skip
    assert "  train.txt, line 6: missing: ant/9.jpg" in told
    assert told[-1] == "  and 3 more"


def test_undecodable_files_are_named_when_every_file_is_decoded(good, noise, capsys):
    whole = noise.read_bytes()
    for i in range(12):
        (good / f"ant/half{i}.jpg").write_bytes(whole[: len(whole) // 2])
    noise.unlink()
    (good / "bee/text.jpg").write_text("not an image")
    with (good / "train.txt").open("a") as file:
        file.write("\n" + "\n".join(f"ant/half{i}.jpg 0" for i in range(12)) + "\nbee/text.jpg 1")
    for decode, number in ((["--decode"], 13), ([], 1)):
        with pytest.raises(SystemExit) as status:
            main(arguments(good, *decode))
        assert status.value.code == 1
        told = capsys.readouterr().out.splitlines()
        position = next(i for i, line in enumerate(told) if "cannot be decoded" in line)
        assert told[position].startswith(f"{number} cannot be decoded")
        if decode:
            assert told[position + 1].startswith(f"  {good}/ant/half0.jpg: cut off: copy or download it again (jpeg::")
            assert told[position + 11] == "  and 3 more"
        else:
            assert told[position + 1] == f"  {good}/bee/text.jpg: not an image"
        assert "nothing wrong found" not in told


def test_empty_files_that_training_skips_are_still_told(good, capsys):
    (good / "ant/0.jpg").write_bytes(b"")
    main(arguments(good, "--config.data.photos.on_bad_image=skip"))  # nothing stands in the way of a run
    told = capsys.readouterr().out.splitlines()
    assert f"  {good}/ant/0.jpg: empty file" in told
    assert told[-1].startswith("training leaves them out")


def test_a_folder_is_described_after_its_cut(good, capsys):
    for i in range(5, 9):
        for animal in ("ant", "bee"):
            photographs.write(good / f"{animal}/{i}.jpg", comment=f"{animal}{i}")
    (good / "counts.json").write_text("[5, 1]")
    main(
        arguments(
            good, "--config.data.profile=counts", f"--config.data.photos.counts={good}/counts.json", source="folder"
        )
    )
    told = capsys.readouterr().out.splitlines()
    assert "classes     2, training images from 5 (ant) to 1 (bee), imbalance ratio 5.0" in told
    assert "files       9 of 9 looked at by their headers (--decode reads all of each)" in told
    assert told[-1] == "nothing wrong found"


def test_other_sources_are_described_too(capsys):
    main(["inspect", DIGITS])
    told = capsys.readouterr().out.splitlines()
    assert "classes     10, training images from 124 (0) to 1 (9), imbalance ratio 124.0" in told
    assert "shots       many / medium / few: 1 / 3 / 6 (few < 20), 1 / 3 / 6 (few <= 20)" in told


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["look", DIGITS], r"the command is 'look'.*choose one of inspect, pack"),
        (["inspect"], "--config is missing"),
        (["inspect", DIGITS, "--decod"], "Unknown command line flag 'decod'"),
        (["inspect", DIGITS, "--config.data.photos.sizes=3"], r"the nearest is config\.data\.photos\.size$"),
        (["inspect", DIGITS, "extra"], "'extra' is no flag"),
        (["inspect", DIGITS, "--config.data.source=list"], r"config\.data\.path is empty"),
    ],
)
def test_wrong_arguments_are_named(given, message):
    with pytest.raises(UserError, match=message):
        parse(given)
