"""Numbers that are not finite: the very step, what is written down, and a run that leaves that batch out."""

import dataclasses
import json
import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest
from same_run import assert_same_run
from tiny import digits, override

from gcl_jax import config as config_lib
from gcl_jax import methods
from gcl_jax.checkpoints import checkpoint
from gcl_jax.errors import UserError
from gcl_jax.runtime import preemption
from gcl_jax.training import experiment, trainer

pytestmark = pytest.mark.usefixtures("quick_compilation")


@dataclasses.dataclass(frozen=True)
class Bad(methods.CrossEntropy):
    """Cross-entropy that is NaN at the steps from ``first`` to ``last``, counted from 1."""

    first: int = 7
    last: int = 7

    def loss(self, key, out, batch, t, stats):
        terms = super().loss(key, out, batch, t, stats)
        bad = (t.step + 1 >= self.first) & (t.step + 1 <= self.last)
        return terms._replace(per_example=terms.per_example * jnp.where(bad, jnp.nan, 1.0))


methods.register("bad", Bad)


def config(**overrides):
    """9 steps an epoch, log lines at 4, 8, 9, 13, 17, 18, checkpoints every 3."""
    found = digits()
    found.stages = ("representation",)
    found.representation.method = config_lib.method("bad")
    return override(found, {"checkpoint.every_steps": 3, "checkpoint.keep": 9} | overrides)


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_the_step_and_what_went_wrong_are_written_down(tmp_path):
    with pytest.raises(UserError, match=r"not finite at step 7 \(loss nan, learning rate .*non_finite_7\.json lists"):
        experiment.run(config(), tmp_path / "run")
    folder = tmp_path / "run" / "representation"
    found = json.loads((folder / "non_finite_7.json").read_text())
    assert (found["step"], found["noticed_after_step"], found["last_good_checkpoint"]) == (7, 8, 6)
    assert found["loss"] == "nan"
    assert found["learning_rate"] > 0
    batch = found["batch"]["main"]
    assert len(batch["indices"]) == len(batch["labels"]) == 32
    assert max(batch["indices"]) < 304
    assert set(found["kinds"]) == {
        "params of backbone",
        "params of head",
    }  # the loss alone was bad
    assert all(kind["arrays"] == kind["of"] for kind in found["kinds"].values())
    assert found["first"][0].startswith("params/backbone/")
    assert sorted(int(p.name) for p in (folder / "checkpoints").glob("[0-9]*")) == [3, 6]
    assert [x["step"] for x in lines(tmp_path / "run")] == [4]


@dataclasses.dataclass(frozen=True)
class Infinite(methods.CrossEntropy):
    """Cross-entropy whose penalty is infinite at step 7 and moves nothing: all that the update makes is finite."""

    def loss(self, key, out, batch, t, stats):
        return super().loss(key, out, batch, t, stats)._replace(aux_loss=jnp.where(t.step + 1 == 7, jnp.inf, 0.0))


methods.register("infinite", Infinite)


def test_a_loss_alone_that_is_not_finite_is_not_saved_either(tmp_path):
    """With a checkpoint a step and lines further apart, it is the checkpoint that has to notice."""
    every = config(
        **{
            "checkpoint.every_steps": 1,
            "representation.epochs": 1,
            "representation.method": config_lib.method("infinite"),
        }
    )
    for _ in range(2):
        with pytest.raises(UserError, match=r"not finite at step 7 \(loss inf, .* 0 of \d+ arrays"):
            experiment.run(every, tmp_path / "run")
        steps = sorted(int(p.name) for p in (tmp_path / "run" / "representation" / "checkpoints").glob("[0-9]*"))
        assert steps == [1, 2, 3, 4, 5, 6]
    every.non_finite.action = "skip"
    assert experiment.run(every, tmp_path / "run")["stages"]["representation"]["skipped_steps"] == [7]
    assert all(np.isfinite(x["loss"]) for x in lines(tmp_path / "run") if x["kind"] == "train")


SKIP = {"non_finite.action": "skip"}
SEEDS = ("seed_0", "seed_1")


def test_a_skipped_step_is_one_that_never_was(tmp_path, capsys):
    """Steps 9 (the last of an epoch) and 10 (the first of another, with another rate): only their number counts."""
    bad = {"representation.method.first": 9, "representation.method.last": 10, "checkpoint.every_steps": 1}
    result = experiment.run(config(**SKIP, **bad, **{"checkpoint.keep": 99}), tmp_path / "run")
    assert result["stages"]["representation"]["skipped_steps"] == [9, 10]
    told = capsys.readouterr().out
    assert "Going back to step 8, to skip that batch (1 of 10)" in told
    assert "Going back to step 9, to skip that batch (2 of 10)" in told
    folder = tmp_path / "run" / "representation" / "checkpoints"
    with checkpoint._manager(folder, read_only=True, create=False, save_interval_steps=0) as manager:
        args = checkpoint.ocp.args.Composite(state=checkpoint.ocp.args.StandardRestore())
        before, after = (manager.restore(step, args=args)["state"] for step in (8, 10))
    counted = [name for name in before if not np.array_equal(before[name], after[name])]
    assert {name.rsplit("/", 1)[-1] for name in counted if not name.startswith("metric_sums")} == {"step"}
    assert all(after[name] == 10 for name in counted if not name.startswith("metric_sums"))
    train = {x["step"]: x for x in lines(tmp_path / "run") if x["kind"] == "train"}
    assert list(train) == [4, 8, 9, 13, 17, 18]
    assert "loss" not in train[9]  # the whole window was skipped
    assert np.isfinite(train[13]["loss"])


@pytest.mark.slow
def test_a_run_with_a_skip_resumes_bit_for_bit(tmp_path, monkeypatch):
    """Stopped on the way back, before the step that is skipped is reached again; and with several steps a dispatch."""
    experiment.run(config(**SKIP), tmp_path / "whole")
    calls, train = [], trainer.train

    def stopped_at_the_second(*args, **kwargs):
        calls.append(kwargs["first"])
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return train(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train", stopped_at_the_second)
        with pytest.raises(SystemExit), preemption.signal_handlers():
            experiment.run(config(**SKIP), tmp_path / "run")
    assert calls == [0, 6]
    experiment.run(config(**SKIP), tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole", ("representation",))


def test_skips_have_a_bound(tmp_path):
    bad = {"representation.method.last": 99, "non_finite.max_skips": 2}
    with pytest.raises(UserError, match="not finite at step 9"):
        experiment.run(config(**SKIP, **bad), tmp_path / "run")
    assert json.loads((tmp_path / "run/representation/skipped.json").read_text())["steps"] == [7, 8]


def test_what_another_config_left_out_is_not_left_out_again(tmp_path):
    """It had saved nothing, so that this one could have the folder."""
    folder = tmp_path / "run/representation"
    folder.mkdir(parents=True)
    (folder / "skipped.json").write_text('{"stage_key": "another", "steps": [3]}')
    experiment.run(config(**{"representation.epochs": 1, "representation.method.first": 99}), tmp_path / "run")
    assert json.loads((folder / "DONE.json").read_text())["skipped_steps"] == []


@pytest.mark.slow
def test_one_of_two_seeds_side_by_side_skips(tmp_path):
    """The other's numbers are those that it has without."""
    short = {"num_seeds": 2, "seeds_at_once": 2, "representation.method.first": 99}
    for name in ("whole", "run"):
        if name == "run":
            (tmp_path / "run/seed_0/representation").mkdir(parents=True)
            (tmp_path / "run/seed_0/representation/skipped.json").write_text('{"steps": [7]}')
        experiment.run(config(**short), tmp_path / name)
    first, second = ([(tmp_path / n / s / "metrics.jsonl").read_bytes() for n in ("whole", "run")] for s in SEEDS)
    assert first[0] != first[1]
    assert second[0] == second[1]


@pytest.mark.slow
def test_debug_nans_names_the_operation(tmp_path):
    with pytest.raises(FloatingPointError, match="nan"):
        experiment.run(config(debug_nans=True), tmp_path / "run")
