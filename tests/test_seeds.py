"""Several seeds of a run: each as if alone, in turn or side by side, added, left out, killed."""

import json
import os
import shutil
import types

import numpy as np
import pytest
from etils import epath
from tiny import digits, override

from gcl_jax.checkpoints import checkpoint
from gcl_jax.errors import UserError
from gcl_jax.training import experiment, run_stage, side_by_side
from gcl_jax.workdir import lock

pytestmark = pytest.mark.usefixtures("quick_compilation")


def run(tmp_path, config, name="run", **kwargs):
    return experiment.run(config, tmp_path / name, **kwargs)


def params(workdir, stage):
    return checkpoint.read(workdir / stage / "checkpoints")[0]


def test_seeds_can_be_added(tmp_path, capsys):
    short = {"representation.epochs": 1, "stages": ("representation",)}
    first = run(tmp_path, override(digits(), short | {"num_seeds": 2}))
    more = run(tmp_path, override(digits(), short | {"num_seeds": 3}))
    assert list(more["seeds"]) == ["seed_0", "seed_1", "seed_2"]
    assert more["seeds"]["seed_0"] == json.loads(json.dumps(first["seeds"]["seed_0"], default=list))
    file, all_three = tmp_path / "run" / "result.json", json.loads(json.dumps(more, default=list))
    assert json.loads(file.read_text()) == all_three
    two = run(tmp_path, override(digits(), short | {"num_seeds": 2}))  # the mean is over them; all keep their results
    assert list(two["seeds"]) == ["seed_0", "seed_1"]
    assert two["across_seeds"] == json.loads(json.dumps(first["across_seeds"]))
    assert "holds seed_2, too, which the mean here leaves out" in capsys.readouterr().out
    assert json.loads(file.read_text()) == all_three
    file.unlink()  # killed before its last line
    run(tmp_path, override(digits(), short | {"num_seeds": 3}))
    assert json.loads(file.read_text()) == all_three
    with pytest.raises(UserError, match="folder_per_seed"):
        run(tmp_path, override(digits(), short))


def test_a_finished_run_of_seeds_is_left_as_it_is_and_a_seeds_folder_is_locked_with_it(tmp_path, monkeypatch):
    config = override(
        digits(), {"representation.epochs": 1, "stages": ("representation",), "num_seeds": 2, "seeds_at_once": 1}
    )
    refused = []

    def train(*args, **kwargs):
        with pytest.raises(UserError, match=f"seed_1 is in use by process {os.getpid()}"):
            run(tmp_path / "run", override(digits(), {"stages": ("representation",)}), "seed_1")
        refused.append(args)
        return run_stage.run_stage(*args, **kwargs)

    monkeypatch.setattr(experiment, "run_stage", train)
    first = run(tmp_path, config)
    assert len(refused) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*/*")}
    result = tmp_path / "run" / "result.json"
    content, time = result.read_text(), result.stat().st_mtime_ns
    assert run(tmp_path, config) == json.loads(json.dumps(first, default=list))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*/*")} == before
    assert result.read_text() == content
    assert result.stat().st_mtime_ns > time  # launch scripts go by it
    with lock.held(epath.Path(tmp_path / "run")):  # a run of more seeds: nothing is written under its hands
        assert run(tmp_path, config) == json.loads(json.dumps(first, default=list))


@pytest.mark.slow
def test_seeds_start_from_the_same_seed_of_another_run(tmp_path):
    """A stage 2 over a folder of several seeds equals the whole runs; a seed that is not there is named."""
    short = {"representation.epochs": 1, "classifier.epochs": 1, "num_seeds": 2}
    whole = run(tmp_path, override(digits(), short), "whole")
    start = {"classifier.init_from": str(tmp_path / "whole")}
    second = run(tmp_path, override(digits(), short | start), "second")
    for seed in ("seed_0", "seed_1"):
        assert second["seeds"][seed]["final"] == whole["seeds"][seed]["final"]
    evaluated = run(tmp_path, override(digits(), short | start), "third", eval_only=True)
    ours = evaluated["seeds"]["seed_1"]["final"]["test"]
    theirs = whole["seeds"]["seed_1"]["stages"]["representation"]["final"]["test"]
    assert ours["per_class"] == theirs["per_class"]  # the loss is at the classifier's own scale
    with pytest.raises(UserError, match=r"is a run of several seeds, but not of seed 2"):
        run(tmp_path, override(digits(), short | start | {"seed": 2}), "fourth")


def test_seeds_are_their_own_single_runs(tmp_path):
    short = {"representation.epochs": 1, "classifier.epochs": 1}
    both = run(tmp_path, override(digits(), short | {"num_seeds": 2, "seed": 3, "seeds_at_once": 1}), "both")
    assert list(both["seeds"]) == ["seed_3", "seed_4"]
    alone = run(tmp_path, override(digits(), short | {"seed": 4}), "alone")
    assert both["seeds"]["seed_4"]["final"] == alone["final"]
    ours, theirs = params(tmp_path / "both" / "seed_4", "classifier"), params(tmp_path / "alone", "classifier")
    for key in theirs:
        np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
    values = [r["final"]["test"]["accuracy"] for r in both["seeds"].values()]
    assert both["across_seeds"]["classifier"]["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert both["across_seeds"]["classifier"]["accuracy"]["std"] == pytest.approx(np.std(values, ddof=1))
    first, second = (params(tmp_path / "both" / s, "representation") for s in both["seeds"])
    assert not np.array_equal(first["params/head/kernel"], second["params/head/kernel"])


@pytest.mark.slow
def test_seeds_whose_checkpoints_share_no_step_go_on_one_by_one(tmp_path, capsys):
    short = {"stages": ("representation",), "num_seeds": 2, "seeds_at_once": 2}
    whole = run(tmp_path, override(digits(), short), "both")
    for name in ("result.json", "seed_0/result.json", "seed_1/result.json", "seed_0/representation/DONE.json",
                 "seed_1/representation/DONE.json"):  # fmt: skip
        (tmp_path / "both" / name).unlink()
    shutil.rmtree(tmp_path / "both" / "seed_1" / "representation")
    again = run(tmp_path, override(digits(), short), "both")
    assert again["seeds"]["seed_0"]["final"] == whole["seeds"]["seed_0"]["final"]
    alone = run(tmp_path, override(digits(), {"stages": ("representation",), "seed": 1}), "alone")
    assert again["seeds"]["seed_1"]["final"] == alone["final"]
    steps = [json.loads(x)["step"] for x in (tmp_path / "both/seed_1/metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert "share no step" in capsys.readouterr().out


@pytest.mark.slow
def test_a_kill_between_the_first_saves_of_two_seeds_changes_no_bit(tmp_path):
    """One seed has its first checkpoint, the other none: both start anew."""
    short = {"stages": ("representation",), "num_seeds": 2, "seeds_at_once": 2}
    whole = run(tmp_path, override(digits(), short | {"checkpoint.keep": 10}), "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    for path in [*(tmp_path / "killed").rglob("result.json"), *(tmp_path / "killed").rglob("DONE.json")]:
        path.unlink()
    shutil.rmtree(tmp_path / "killed" / "seed_1" / "representation")
    for saved in (tmp_path / "killed" / "seed_0" / "representation" / "checkpoints").glob("[0-9]*"):
        if saved.name != "5":
            shutil.rmtree(saved)
    again = run(tmp_path, override(digits(), short | {"checkpoint.keep": 10}), "killed")
    for seed in ("seed_0", "seed_1"):
        assert again["seeds"][seed]["final"] == whole["seeds"][seed]["final"]
        ours, theirs = (params(tmp_path / name / seed, "representation") for name in ("killed", "whole"))
        for key in theirs:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
        lines = [(tmp_path / name / seed / "metrics.jsonl").read_text() for name in ("killed", "whole")]
        assert lines[0] == lines[1]


@pytest.mark.slow
def test_what_a_seed_has_saved_alone_is_not_trained_again_side_by_side(tmp_path, capsys):
    """Seeds in turn, stopped before the first save of the second, then given more devices."""
    short = {"stages": ("representation",), "num_seeds": 2, "checkpoint.keep": 10}
    whole = run(tmp_path, override(digits(), short | {"seeds_at_once": 1}))
    for path in [*(tmp_path / "run").rglob("result.json"), *(tmp_path / "run").rglob("DONE.json")]:
        path.unlink()
    shutil.rmtree(tmp_path / "run" / "seed_1" / "representation")
    for saved in (tmp_path / "run" / "seed_0" / "representation" / "checkpoints").glob("[0-9]*"):
        if saved.name != "5":
            shutil.rmtree(saved)
    capsys.readouterr()
    again = run(tmp_path, override(digits(), short | {"seeds_at_once": 2}))
    said = capsys.readouterr().out
    assert "share no step" in said
    assert "resuming after step 5" in said
    assert again["seeds"]["seed_0"]["final"] == whole["seeds"]["seed_0"]["final"]  # alone, and so bit for bit


@pytest.mark.parametrize(
    ("saved", "anew"),
    [
        ([{5}, set()], True),
        ([set(), {3}], True),
        ([{5}, {3}], False),  # keep = 1: each has lost what the other has
        ([{3, 5}, set()], False),
        ([{6}, set()], False),  # beyond the first save: the other's folder was removed
    ],
)
def test_seeds_side_by_side_start_anew_only_where_nothing_is_lost(saved, anew):
    for together in (2, 1, None):  # older versions did not note it, and started anew
        runs = [types.SimpleNamespace(side_by_side=lambda step, n=together: n)] * 2
        assert side_by_side._killed_between_first_saves(5, runs, saved) == (anew and together != 1)


def test_an_evaluation_of_seeds_that_stand_at_different_stages_holds_what_all_have(tmp_path):
    short = {"representation.epochs": 1, "classifier.epochs": 1, "num_seeds": 2, "seeds_at_once": 1}
    run(tmp_path, override(digits(), short))
    shutil.rmtree(tmp_path / "run" / "seed_0" / "classifier")
    found = run(tmp_path, override(digits(), short), eval_only=True)
    assert list(found["across_seeds"]) == ["representation"]
    assert list(found["seeds"]["seed_1"]["stages"]) == ["representation", "classifier"]


def test_a_run_of_seeds_without_its_data_leaves_no_folder_behind(tmp_path):
    config = override(digits(), {"data.source": "arrays", "data.path": str(tmp_path / "none.npz"), "num_seeds": 3})
    with pytest.raises(UserError, match=r"there is no file .*none\.npz"):
        run(tmp_path, config)
    assert not list(tmp_path.iterdir())
