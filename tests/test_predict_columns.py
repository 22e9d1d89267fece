"""What gcl_jax.predict prints: columns that hold for any name."""

import pytest

from gcl_jax.predict import columns

NAMES = {
    "short": "a.png",
    "long": "folder/" * 40 + "a.png",
    "longer": "x" * 250 + "/" + "y" * 250 + ".jpg",
    "umlauts": "Übergröße/ä.png",
    "wide": "写真/猫.jpg",
    "combining": "u\u0308.png",
    "line break": "a\nb.png",
    "escape": "\x1b[31mred.png",
    "not UTF-8": "n\udcff.png",
    "right to left": "\u202egnp.exe",
}


@pytest.mark.parametrize("other", NAMES, ids=str)
@pytest.mark.parametrize("name", ["cat", "a\nb", "名前"])
def test_columns_stand_under_each_other(other, name):
    rows = [(path, rank, name, 1 / rank) for path in ("b.png", NAMES[other]) for rank in (1, 2)]
    lines = columns(rows)
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    places = {line.index("  1  100.00 %  " if i % 2 == 0 else "  2   50.00 %  ") for i, line in enumerate(lines)}
    if other not in ("wide", "combining"):  # which take other columns than characters
        assert len(places) == 1
    assert lines[0].startswith("b.png ")
    assert lines[1].startswith("  ")


def test_wide_letters_take_two_columns_and_combining_ones_none():
    lines = columns([("猫.png", 1, "a", 1.0), ("abcd.png", 1, "a", 1.0), ("u\u0308.png", 1, "a", 1.0)])
    assert lines == ["猫.png    1  100.00 %  a", "abcd.png  1  100.00 %  a", "u\u0308.png     1  100.00 %  a"]


def test_of_no_image_nothing_is_printed():
    assert columns([]) == []
