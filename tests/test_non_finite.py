"""Numbers that are not finite: the very step, what is written down, and a run that leaves that batch out."""

import dataclasses
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from same_run import assert_same_run
from tiny import digits, override

from gcl_jax import config as config_lib
from gcl_jax import methods
from gcl_jax.checkpoints import checkpoint
from gcl_jax.errors import UserError
from gcl_jax.runtime import backend, preemption
from gcl_jax.training import experiment, non_finite
from gcl_jax.training.run_context import RunContext
from gcl_jax.training.stage_run import StageRun
from gcl_jax.training.train_state import TrainState

pytestmark = pytest.mark.usefixtures("quick_compilation")


@dataclasses.dataclass(frozen=True)
class Bad(methods.CrossEntropy):
    """Cross-entropy that is NaN at the steps from ``first`` to ``last``, counted from 1.

    With ``only``, for batches whose labels have that sum.
    """

    first: int = 7
    last: int = 7
    only: int = 0

    def loss(self, key, out, batch, t, stats):
        terms = super().loss(key, out, batch, t, stats)
        bad = (t.step + 1 >= self.first) & (t.step + 1 <= self.last)
        if self.only:
            bad &= jnp.sum(batch["label"]) == self.only
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


def adds_one(state, inputs, row):
    """A step whose loss is the row's, and whose optimizer state is the row's "trace"."""
    metrics = {"loss": row["loss"]}
    params = jax.tree.map(lambda x: x + 1, state.params)
    return TrainState(
        step=state.step + 1,
        params=params,
        model_state=state.model_state,
        opt_state={"count": state.opt_state["count"] + 1, "trace": row["trace"]},
        method_state={},
        ema={},
        metric_sums={"loss": state.metric_sums["loss"] + row["loss"]},
        first_nonfinite=non_finite.record_first(state.first_nonfinite, state.step + 1, metrics, (params, {}, {})),
    )


def test_any_array_of_a_step_makes_it_skip():
    """Also the optimizer's own, such as an overflow that would freeze a parameter for ever."""
    params = {"w": jnp.zeros(2)}
    opt_state = {"count": jnp.int32(0), "trace": jnp.float32(0)}
    none = non_finite.empty_record(params, {}, {})
    state = TrainState(jnp.int32(0), params, {}, opt_state, {}, {}, {"loss": jnp.float32(0)}, none)
    state = state.replace(skipped=non_finite.empty_skip_record(2, state))
    step = jax.jit(non_finite.skip_nonfinite(adds_one, lambda step: step == 3))
    rows = [(1.0, 1.0), (np.nan, 1.0), (2.0, np.inf), (np.inf, 1.0), (4.0, 5.0), (np.nan, np.nan)]
    for loss, trace in rows:
        state = step(state, None, {"loss": jnp.float32(loss), "trace": jnp.float32(trace)})
    assert int(state.step) == 6
    assert state.params["w"].tolist() == [2, 2]
    assert jax.device_get(state.opt_state) == {"count": 2, "trace": 5}
    assert float(state.metric_sums["loss"]) == 4  # a window that began with a skipped step
    assert int(state.first_nonfinite["step"]) == 0
    skipped = jax.device_get(state.skipped)
    assert skipped["count"] == 4  # of which three have a place
    assert skipped["steps"].tolist() == [2, 3, 4]
    np.testing.assert_array_equal(skipped["loss"], [np.nan, 2, np.inf])
    assert skipped["counts"].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert non_finite.array_names(params, {}, {}, state) == ["params/w", "opt_state/count", "opt_state/trace"]


def saved(folder, step):
    with checkpoint._manager(folder, read_only=True, create=False, save_interval_steps=0) as manager:
        return manager.restore(step, args=checkpoint.ocp.args.Composite(state=checkpoint.ocp.args.StandardRestore()))[
            "state"
        ]


@pytest.mark.parametrize("name", [pytest.param("sgd", marks=pytest.mark.slow), "adamw"])
def test_a_skipped_step_is_one_that_never_was(tmp_path, capsys, name):
    """Steps 9 (the last of an epoch) and 10 (the first of another, with another rate): only their number counts."""
    bad = {"representation.method.first": 9, "representation.method.last": 10, "checkpoint.every_steps": 1}
    given = config(**SKIP, **bad, **{"checkpoint.keep": 99, "representation.optimizer.name": name})
    result = experiment.run(given, tmp_path / "run")
    assert result["stages"]["representation"]["skipped_steps"] == [9, 10]
    told = capsys.readouterr().out
    assert "step 9 (loss nan" in told
    assert "It was skipped (1 of 10)" in told
    assert "It was skipped (2 of 10)" in told
    folder = tmp_path / "run" / "representation"
    assert json.loads((folder / "non_finite_10.json").read_text())["noticed_after_step"] == 10
    before, after = (saved(folder / "checkpoints", step) for step in (8, 10))
    counted = [name for name in before if not np.array_equal(before[name], after[name])]
    assert {name for name in counted if not name.startswith("metric_sums")} == {"step"}
    assert after["step"] == 10
    last = saved(folder / "checkpoints", 18)
    assert all(last[path] == 16 for path in last if path.startswith("opt_state") and path.endswith("/count"))
    assert any(path.endswith("/count") for path in last if path.startswith("opt_state")) == (name == "adamw")
    train = {x["step"]: x for x in lines(tmp_path / "run") if x["kind"] == "train"}
    assert list(train) == [4, 8, 9, 13, 17, 18]
    assert "loss" not in train[9]  # the whole window was skipped
    assert np.isfinite(train[13]["loss"])
    rates = [config_lib.make_schedule(given.representation, 9)(step - 1) for step in train]
    np.testing.assert_allclose([line["learning_rate"] for line in train.values()], rates, rtol=1e-6)


@pytest.mark.parametrize("calls", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_run_with_a_skip_resumes_bit_for_bit(tmp_path, monkeypatch, calls):
    """Stopped before the step that is skipped, or with a checkpoint behind it."""
    experiment.run(config(**SKIP), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(StageRun, "log", signaling(StageRun.log, calls))
        with pytest.raises(SystemExit), preemption.signal_handlers():
            experiment.run(config(**SKIP), tmp_path / "run")
    steps = [int(p.name) for p in (tmp_path / "run/representation/checkpoints").glob("[0-9]*")]
    assert max(steps) == {1: 5, 2: 9}[calls]
    experiment.run(config(**SKIP), tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole", ("representation",))


def signaling(function, calls):
    done = []

    def wrapped(*args):
        done.append(1)
        if len(done) == calls:
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*args)

    return wrapped


@pytest.mark.slow
def test_skips_are_the_same_in_dispatches_of_any_length(tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "loops", lambda *, resident: resident)
    for steps in (1, 4):
        experiment.run(config(**SKIP, steps_per_call=steps), tmp_path / str(steps))
    assert_same_run(tmp_path / "4", tmp_path / "1", ("representation",))
    done = json.loads((tmp_path / "4/representation/DONE.json").read_text())
    assert done["skipped_steps"] == [7]


@pytest.mark.slow
def test_skips_have_a_bound(tmp_path):
    """Which a run that met it can be given anew; what was skipped before counts."""
    bad = {"representation.method.last": 10, "checkpoint.every_steps": 8}
    for _ in range(2):
        with pytest.raises(UserError, match=r"at step 9 .*config.non_finite.max_skips = 2 steps .*\(7, 8, 9\)"):
            experiment.run(config(**SKIP, **bad, **{"non_finite.max_skips": 2}), tmp_path / "run")
    folder = tmp_path / "run/representation"
    assert sorted(path.name for path in folder.glob("non_finite_*")) == [f"non_finite_{i}.json" for i in (7, 8, 9)]
    assert [path.name for path in (folder / "checkpoints").glob("[0-9]*")] == ["8"]
    with pytest.raises(UserError, match=r"max_skips = 1 steps were skipped \(7, 8\)"):
        experiment.run(config(**SKIP, **bad, **{"non_finite.max_skips": 1}), tmp_path / "run")
    result = experiment.run(config(**SKIP, **bad, **{"non_finite.max_skips": 4}), tmp_path / "run")
    assert result["stages"]["representation"]["skipped_steps"] == [7, 8, 9, 10]


@pytest.mark.slow
def test_a_run_of_an_older_version_that_skipped_goes_on(tmp_path, monkeypatch):
    """It kept the steps in a file of their own; those after the checkpoint are met again."""
    whole = experiment.run(config(**SKIP, **{"representation.method.last": 8}), tmp_path / "whole")
    note = StageRun._note
    with monkeypatch.context() as patch:
        patch.setattr(StageRun, "_note", lambda run: {k: v for k, v in note(run).items() if k != "skipped_steps"})
        patch.setattr(StageRun, "log", signaling(StageRun.log, 2))
        with pytest.raises(SystemExit), preemption.signal_handlers():
            experiment.run(config(**SKIP, **{"representation.method.last": 8}), tmp_path / "run")
    folder = tmp_path / "run/representation"
    (folder / "skipped.json").write_text('{"steps": [7, 8, 17]}')
    result = experiment.run(config(**SKIP, **{"representation.method.last": 8}), tmp_path / "run")
    assert result["stages"]["representation"]["skipped_steps"] == [7, 8]
    assert_same_run(tmp_path / "run", tmp_path / "whole", ("representation",))
    assert whole["final"] == result["final"]


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
    short = {"num_seeds": 2, "seeds_at_once": 2, "checkpoint.every_steps": 18} | SKIP
    entries = RunContext(config()).stage("representation", 1).input_pipeline.entries
    labels = [sum(entries(seed, 7)["main"]["labels"]) for seed in (0, 1)]
    assert labels[0] != labels[1]
    for name, only in (("whole", 10**6), ("run", labels[0])):
        experiment.run(config(**short, **{"representation.method.only": only}), tmp_path / name)
    first, second = ([(tmp_path / n / s / "metrics.jsonl").read_bytes() for n in ("whole", "run")] for s in SEEDS)
    assert first[0] != first[1]
    assert second[0] == second[1]
    done = [json.loads((tmp_path / "run" / s / "representation/DONE.json").read_text()) for s in SEEDS]
    assert [seed["skipped_steps"] for seed in done] == [[7], []]


@pytest.mark.slow
def test_debug_nans_names_the_operation(tmp_path):
    with pytest.raises(FloatingPointError, match="nan"):
        experiment.run(config(debug_nans=True), tmp_path / "run")
