"""Rows of one table started from the same weights, and saw the same images."""

import shutil

import numpy as np
import pytest
from finished_rows import finish, network, of, run, save

from gcl_jax.checkpoints import warm_start
from gcl_jax.errors import UserError
from gcl_jax.table import dry_run, starts
from gcl_jax.table.specs import TABLES
from gcl_jax.training import experiment


@pytest.fixture(autouse=True)
def nothing_trains(monkeypatch):
    monkeypatch.setattr(experiment, "run", None)


def test_rows_from_one_start_make_a_table(tmp_path):
    save(tmp_path / "R/representation", network(1.0))
    start = f"--config.representation.init_from={tmp_path / 'R'}"
    ce, focal = (of(name, overrides=[start]) for name in ("ce", "focal"))
    for cell in (ce, focal):
        finish(cell, tmp_path / "t", start=network(1.0))
    text = run(["focal"], [ce, focal], tmp_path / "t")
    assert "| CE | 50.00 |" in text
    assert "| focal | 50.00 |" in text


STARTS = ["trained again", "another head", "several seeds", "npz", "safetensors"]


def put(where, value, head, how):
    """A start at ``where`` that holds such numbers; returns its variables."""
    if how in ("npz", "safetensors"):
        arrays = {
            "conv1.weight": np.full((3, 3, 1, 1), value, np.float32),
            "fc.weight": np.full((2, 3), head, np.float32),
        }
        arrays["fc.bias"] = np.zeros(2, np.float32)
        file = where.with_suffix(f".{how}")
        if how == "npz":
            np.savez(file, **arrays)
        else:
            pytest.importorskip("safetensors.numpy").save_file(arrays, str(file))
        return str(file), warm_start.load(str(file), None)
    variables = network(value, head)
    for folder in [where / "seed_0", where / "seed_1"] if how == "several seeds" else [where]:
        save(folder / "representation", variables)
    return str(where), variables


@pytest.mark.parametrize("how", STARTS)
def test_a_start_that_holds_other_weights_now_is_another_row(tmp_path, how):
    """Neither rows that are there nor those that would be trained are in one table, and the dry run says it before."""
    root, head = tmp_path / "t", 9.0 if how == "another head" else 0.0
    start, before = put(tmp_path / "R", 1.0, 0.0, how)
    ce, focal = (of(name, overrides=[f"--config.representation.init_from={start}"]) for name in ("ce", "focal"))
    (node,) = finish(ce, root, start=before)
    assert "| CE | 50.00 |" in run(["ce"], [ce, focal], root)
    _, after = put(tmp_path / "R", 1.0 if head else 2.0, head, how)
    for asked in (["focal"], ["ce"], ["ce", "focal"]):
        with pytest.raises(
            UserError, match=r"ce \(cross_entropy_\w+, seed 0\) started from other weights than .*/R\S* holds now"
        ):
            run(asked, [ce, focal], root)
    told = dry_run.describe(TABLES["baselines"], [focal], root, [], [ce, focal])
    assert f"nothing of it will be measured: {root}/digits_lt_100: ce (" in told
    shutil.rmtree(node.folder)
    finish(focal, root, start=after)  # what is left is of one start
    assert "| focal | 50.00 |" in run(["focal"], [ce, focal], root)


@pytest.mark.parametrize("which", ["only one seed", "the second stage", "a first stage of its own"])
def test_every_stage_and_seed_is_held_to_what_it_started_from(tmp_path, monkeypatch, which):
    monkeypatch.setattr(starts, "_older_digest", lambda *args: "another")  # which would make the network
    root = tmp_path / "t"
    if which == "only one seed":
        save(tmp_path / "R/representation", network(1.0))
        cell = of("ce", overrides=[f"--config.representation.init_from={tmp_path / 'R'}"], seeds=2)
        finish(cell, root, start=network(1.0), seeds=[0])
        finish(cell, root, start=network(2.0), seeds=[1])
        told = r"ce \(.*, seed 1\) started from other weights"
    elif which == "the second stage":
        save(tmp_path / "R/representation", network(2.0))
        cell = of("crt", overrides=[f"--config.classifier.init_from={tmp_path / 'R'}"])
        finish(cell, root, start=network(1.0))
        told = r"crt \(.*, seed 0\) started from other weights than .*R holds"
    else:
        cell = of("gcl", table="table5")
        first, _ = finish(cell, root)  # its second stage started from a 1.0
        save(first.folder / "seed_0/representation", network(3.0))
        told = rf"gcl \(.*, seed 0\) started from other weights than {first.folder} holds"
    table = "table5" if "own" in which else "baselines"
    with pytest.raises(UserError, match=told):
        run([cell.row.name], [cell], root, table)


def test_a_start_that_is_gone_says_nothing(tmp_path):
    save(tmp_path / "R/representation", network(1.0))
    ce = of("ce", overrides=[f"--config.representation.init_from={tmp_path / 'R'}"])
    finish(ce, tmp_path / "t", start=network(1.0))
    shutil.rmtree(tmp_path / "R")
    assert "| CE | 50.00 |" in run(["ce"], [ce], tmp_path / "t")


@pytest.mark.parametrize("which", ["a row", "a seed of a row", "a second stage"])
def test_rows_of_two_starts_make_no_table_even_where_the_start_is_gone(tmp_path, which):
    """As where another table trained one of them in the meantime."""
    root, stage = tmp_path / "t", "classifier" if which == "a second stage" else "representation"
    names = ("lws", "disalign") if stage == "classifier" else ("ce", "focal")
    seeds = 2 if which == "a seed of a row" else 1
    overrides = [f"--config.{stage}.init_from={tmp_path / 'R'}"]
    one, other = (of(name, overrides=overrides, seeds=seeds) for name in names)
    finish(one, root, start=network(1.0))
    finish(other, root, start=network(1.0))
    assert f"| {other.row.label} | 50.00" in run([names[0]], [one, other], root)
    finish(other, root, start=network(2.0), seeds=[seeds - 1])
    told = f"{names[1]} .* and {names[0]} started from different weights, which were at {tmp_path / 'R'}"
    for asked in ([names[0]], names):
        with pytest.raises(UserError, match=told):
            run(asked, [one, other], root)
    assert "nothing of it will be measured" in dry_run.describe(TABLES["baselines"], [one], root, [], [one, other])


def test_rows_of_other_data_are_told_before_anything_is_trained(tmp_path):
    ce, focal, gcl = of("ce"), of("focal"), of("gcl")
    finish(ce, tmp_path, data="old")
    finish(focal, tmp_path, data="new")
    told = dry_run.describe(TABLES["baselines"], [gcl], tmp_path, [], [ce, focal, gcl])
    assert "focal" in told
    assert "was trained on other images than ce" in told
    with pytest.raises(UserError, match="was trained on other images than ce"):
        run(["gcl"], [ce, focal, gcl], tmp_path)


@pytest.mark.parametrize(("codes", "told"), [(("a", "b"), True), (("a", "a"), False), (("", "b"), True)])
def test_rows_of_other_code_say_so(tmp_path, codes, told):
    ce, focal = of("ce"), of("focal")
    for cell, code in zip((ce, focal), codes, strict=True):
        finish(cell, tmp_path, code=code)
    text = run(["ce"], [ce, focal], tmp_path)
    assert ("Not all rows were computed by the same" in text) == told
    assert (f"gcl_jax 0 ({codes[1]}): focal on digits_lt_100." in text) == told
