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


def test_the_readmes_hours_are_what_was_measured():
    result = json.loads((ROOT / "results/cifar10_lt_100_full_length/gcl_published.json").read_text())
    hours = sum(stage["seconds"] for stage in result["stages"].values()) / 3600
    assert f"after {hours:.1f} hours on 2 CPU cores" in " ".join(README.split())
    assert f"{result['final']['test']['accuracy']:.2f} %" in README


def test_the_photographs_numbers_are_what_was_measured():
    """Each with Wilson's interval over its test images; what is claimed lies outside of both, what is not does not."""
    with (ROOT / "results/photos_lt/baselines.csv").open() as file:
        rows = list(csv.DictReader(file))
    intervals = {}
    text = " ".join(PHOTOGRAPHS.split())
    for row, label in (("ce", "CE"), ("gcl", "GCL")):
        values = {k: [float(x[k]) for x in rows if x["row"] == row] for k in ("accuracy", "few")}
        assert f"| {label} | {np.mean(values['accuracy']):.2f} +- {np.std(values['accuracy'], ddof=1):.2f} |" in text
        for name, images in (("accuracy", 505), ("few", 320)):  # 101 and 64 classes, 5 test images each
            intervals[name, row] = wilson(np.mean(values[name]), images)
            low, high = intervals[name, row]
            assert f"[{low:.2f}, {high:.2f}]" in text
        assert f"| {np.mean(values['few']):.2f} +- {np.std(values['few'], ddof=1):.2f} |" in text
    assert intervals["accuracy", "gcl"][0] < intervals["accuracy", "ce"][1]
    assert intervals["few", "gcl"][0] > intervals["few", "ce"][1]
