"""The code in README and docs/ runs, and their tables are what results/ holds."""

import csv
import dataclasses
import functools
import json
import re

import numpy as np
import pytest
from conftest import ROOT
from ml_collections import ConfigDict
from pages import TEXT, blocks
from tiny import digits, load_config, override

from gcl_jax import config as config_lib
from gcl_jax import methods, optim, recipes, transforms
from gcl_jax.config_files import names
from gcl_jax.table import specs
from gcl_jax.table.significance import wilson
from gcl_jax.training import experiment

README = TEXT["README.md"]
METHODS, PHOTOGRAPHS, BENCHMARKS = (TEXT[f"docs/{page}.md"] for page in ("methods", "photographs", "benchmarks"))
BLOCKS = [block for _, block in blocks("python")]
REGISTRIES = (methods.METHODS, optim.OPTIMIZERS, optim.SCHEDULES, recipes.RECIPES, transforms.TRANSFORMS)


@functools.cache
def run(block):
    """The names that a block of Python leaves; it is executed once."""
    names = {"__name__": "page"}
    exec(block, names)
    return names


@pytest.fixture
def registries():
    """What is registered in a test is forgotten after it."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.mark.parametrize("text", TEXT.values(), ids=TEXT)
def test_nothing_is_left_to_fill_in(text):
    assert not re.search(r"@[A-Z]+@|TODO|TBD", text)


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("block", BLOCKS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(blocks("python"))])
def test_python_blocks_run(block):
    run(block)


def test_losses_in_a_users_own_loop():
    code = next(block for block in BLOCKS if "for step in range" in block)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 20
    names = run(code)
    assert np.isfinite(names["value"])
    cosine = names["features"] @ names["normalize"](names["kernel"], axis=0)
    assert (np.asarray(cosine).argmax(1) == np.asarray(names["labels"])).mean() > 0.9


@pytest.mark.usefixtures("quick_compilation", "registries")
def test_the_worked_examples_train(tmp_path):
    """A method by an optimizer and a schedule, all of them registered by the page."""
    for name in ("class BalancedSoftmax", "class Lion"):
        exec(next(block for block in BLOCKS if name in block), {"__name__": "page"})
    assert dataclasses.is_dataclass(methods.METHODS["balanced_softmax_example"])
    config = override(
        digits(representation__epochs=1),
        {
            "stages": ("representation",),
            "representation.optimizer.name": "lion_example",
            "representation.optimizer.schedule": "linear_example",
            "representation.optimizer.learning_rate": 0.001,
        },
    )
    config.representation.method = ConfigDict(config_lib.method("balanced_softmax_example"))
    result = experiment.run(config, tmp_path / "run")
    assert np.isfinite(result["final"]["test"]["nll"])


@pytest.mark.usefixtures("registries")
def test_the_recipe_of_the_page_is_a_row():
    exec(next(block for block in BLOCKS if "@recipe" in block), {"__name__": "page"})
    margins = {name: load_config(f"{name}:ldam_example", None).representation.method.max_margin for name in names()}
    assert margins == dict.fromkeys(names(), 0.5) | {"cifar100_lt": 0.4}
    assert [row.label for row in specs.find("baselines").rows][-1] == "LDAM, s = 20"


def test_the_table_is_what_was_measured():
    rows = json.loads((ROOT / "results/digits_lt_100_ten_seeds.json").read_text())["rows"]

    def values(method, stage, name):
        return np.array([seed[stage][name] for seed in rows[method]["seeds"].values()])

    for label, method, stage in (
        ("CE (80 epochs)", "ce", "representation"),
        ("GCL, stage 1 (60 epochs)", "gcl", "representation"),
        ("GCL, both stages (60 + 20)", "gcl", "classifier"),
    ):
        cells = next(line for line in README.splitlines() if line.startswith(f"| {label}")).split("|")[2:-1]
        accuracy = values(method, stage, "accuracy")
        assert cells[0].strip() == f"{accuracy.mean():.2f} +- {accuracy.std(ddof=1):.2f}"
        for cell, name in zip(cells[1:], ("many", "medium", "few"), strict=True):
            assert cell.split("+-")[0].strip() == f"{values(method, stage, name).mean():.2f}"
    difference = values("gcl", "classifier", "accuracy") - values("ce", "representation", "accuracy")
    half = 2.2622 * difference.std(ddof=1) / np.sqrt(10)  # Student's t, 9 degrees of freedom
    low, high = difference.mean() - half, difference.mean() + half
    for text in (README, METHODS):
        words = " ".join(text.split())
        assert f"by {difference.mean():.2f} points (paired by seed, 95 % interval {low:.2f} to {high:.2f})" in words
        assert ("beats CE" in words) == (low > 0)


def test_the_full_length_numbers_are_what_was_measured():
    folder = ROOT / "results/cifar10_lt_100_full_length"
    cells = [line.split("|") for line in README.splitlines() if line.startswith("| ")]
    rows = {label.strip(): accuracy.strip(" *") for _, label, accuracy, *_ in cells}
    text, front = (" ".join(page.split()) for page in (METHODS, README))
    for row, label, epochs in (
        ("gcl_published", "GCL, both stages, 200 + 30 epochs", [200, 30]),
        ("ce", "CE (cross-entropy), 200 epochs", [200]),
    ):
        result = json.loads((folder / f"{row}.json").read_text())
        assert [stage["epochs"] for stage in result["stages"].values()] == epochs
        for stage in result["stages"].values():
            assert f"**{stage['final']['test']['accuracy']:.2f}** %" in text
        assert rows[label] == f"{result['final']['test']['accuracy']:.2f}"
        hours = sum(stage["seconds"] for stage in result["stages"].values()) / 3600
        assert row == "ce" or f"after {hours:.1f} hours on 2 CPU cores" in front
    for line in csv.DictReader((folder / "on_ce.csv").open()):
        if line["row"] != "ce":
            accuracy = f"{float(line['accuracy']):.2f}"
            assert f"{line['label'].replace(',', '')} {accuracy}" in text
            assert rows[f"{line['label']}, on that CE network"] == accuracy


def test_the_photographs_numbers_are_what_was_measured():
    """Each with Wilson's interval over its test images; what is claimed lies outside of both, what is not does not."""
    with (ROOT / "results/photos_lt/baselines.csv").open() as file:
        rows = list(csv.DictReader(file))
    intervals = {}
    text = " ".join(PHOTOGRAPHS.split())
    for row, label in (("ce", "CE"), ("gcl", "GCL")):
        values = {k: [float(x[k]) for x in rows if x["row"] == row] for k in ("accuracy", "few")}
        assert f"{label} {np.mean(values['accuracy']):.2f} +- {np.std(values['accuracy'], ddof=1):.2f} %" in text
        for name, images in (("accuracy", 505), ("few", 320)):  # 101 and 64 classes, 5 test images each
            intervals[name, row] = wilson(np.mean(values[name]), images)
            low, high = intervals[name, row]
            assert f"[{low:.2f}, {high:.2f}]" in text
        assert f"{label}'s {np.mean(values['few']):.2f} %" in text
    assert intervals["accuracy", "gcl"][0] < intervals["accuracy", "ce"][1]
    assert intervals["few", "gcl"][0] > intervals["few", "ce"][1]


def test_the_table_of_methods_is_what_was_measured():
    measured = {}
    for name in ("table1", "baselines"):
        with (ROOT / f"results/digits_lt_tables/{name}.csv").open() as file:
            for line in csv.DictReader(file):
                measured.setdefault((line["label"], line["row"]), {})[line["seed"]] = line
    for (label, row), seeds in measured.items():
        one = {name: [float(seed[name]) for seed in seeds.values()] for name in ("accuracy", "many", "medium", "few")}
        cells = [f"{np.mean(one['accuracy']):.2f} +- {np.std(one['accuracy'], ddof=1):.2f}"]
        cells += [f"{np.mean(one[name]):.2f}" for name in ("many", "medium", "few")]
        assert f"| {label} | `{row}` | {' | '.join(cells)} |" in METHODS


@pytest.mark.parametrize("python", ["311", "312"])
@pytest.mark.parametrize("subject", ["step", "epoch", "eval", "input"])
def test_the_speed_table_is_the_benchmarks_output(subject, python):
    report = json.loads((ROOT / f"results/benchmark_{subject}_python{python}.json").read_text())

    def text(number):
        return f"{number:,.1f}" if number < 1000 else f"{number:,.0f}"

    digits = 2 if report["ratio"] < 5 else 1
    ratio, low, high = (f"{report[key]:.{digits}f}" for key in ("ratio", "ratio_min", "ratio_max"))
    ours = next(iter(report["rows"].values()))["images_per_second"]["median"]  # the first row is the one compared
    theirs = report["rows"][report["ratio_against"]]["images_per_second"]["median"]
    told = [f"| {text(ours)} | {text(theirs)} | {bold}{ratio}{bold} ({low} .. {high}) |" for bold in ("", "**")]
    assert any(line in BENCHMARKS for line in told), told
