"""The tables of numbers in README.md and docs/ are those of results/, written by `make results`."""

import importlib.util
import re

import numpy as np
import pytest
from conftest import ROOT

spec = importlib.util.spec_from_file_location("result_pages", ROOT / "tools/result_pages.py")
result_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(result_pages)


@pytest.mark.parametrize("page", result_pages.pages(), ids=lambda page: page.name)
def test_pages_are_current(page):
    text = page.read_text()
    assert text == result_pages.filled(text), "make results"


def test_every_table_stands_on_a_page():
    there = {name for page in result_pages.pages() for name in re.findall(r"<!-- results: (\w+) -->", page.read_text())}
    assert there == result_pages.BLOCKS.keys()


def test_a_typed_number_does_not_survive():
    text = "a\n<!-- results: photos -->\n| CE | 99.99 |\n<!-- end -->\nb"
    filled = result_pages.filled(text)
    assert "99.99" not in filled
    assert filled.startswith("a\n<!-- results: photos -->\n| | all |")
    assert filled.endswith("<!-- end -->\nb")
    with pytest.raises(KeyError, match="phots"):
        result_pages.filled("<!-- results: phots -->\n<!-- end -->")


def test_numbers_are_means_over_seeds(tmp_path):
    """Of a table's CSV: the mean and the deviation with n - 1, and nothing of a value that is missing."""
    (tmp_path / "t.csv").write_text(
        "row,label,ratio,seed,accuracy,few,published\nce,CE,100,0,80.0,,70.7\nce,CE,100,1,82.0,,70.7\n"
    )
    (row,) = result_pages._rows(tmp_path / "t.csv").values()
    accuracy = result_pages._values(row, "accuracy")
    assert result_pages._mean_std(accuracy) == f"81.00 +- {np.sqrt(2):.2f}"
    assert result_pages._mean(result_pages._values(row, "few")) == "-"


def test_the_digits_claim_follows_the_interval(monkeypatch):
    """GCL beats CE where the paired interval lies above zero, and only there."""
    rows = result_pages._json("digits_lt_100_ten_seeds.json")
    assert "GCL beats CE by 1.32 points" in result_pages.digits_ten_seeds()
    for seed in rows["rows"]["gcl"]["seeds"].values():
        seed["classifier"]["accuracy"] -= 1.0
    monkeypatch.setattr(result_pages, "_json", lambda file: rows)
    assert "GCL does not differ from CE by 0.32 points" in result_pages.digits_ten_seeds()


def test_speed_says_the_fastest_opponent():
    report = result_pages._json("benchmark_step_python312.json")
    theirs = {name: row["seconds"]["median"] for name, row in report["rows"].items() if row["side"] == "torch"}
    assert report["ratio_against"] == min(theirs, key=theirs.get)
    rate = report["rows"][report["ratio_against"]]["images_per_second"]["median"]
    assert f"| 263.6 | {rate:.1f} | {report['ratio']:.2f} (" in result_pages.speed()
