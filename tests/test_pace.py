"""How far the host runs ahead: what is computed after a signal has a bound, and no cut of dispatches changes a bit."""

import functools
import itertools
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_loop
from same_run import assert_same_run
from tiny import digits, override

from gcl_jax.runtime import backend, preemption
from gcl_jax.training import experiment, pace, trainer
from gcl_jax.training.run_context import RunContext


class Device:
    """Computes what is dispatched in order, ``seconds`` a step, on a clock that runs only while the host waits."""

    def __init__(self, seconds):
        self.seconds, self.now, self.dispatched, self.done_at = seconds, 0.0, [], 0.0

    def clock(self):
        return self.now

    def step(self, state, inputs, block, n):
        assert sum(one.at > self.now for one in self.dispatched) <= 1, "more than one waits, or runs"
        self.done_at = max(self.done_at, self.now) + self.seconds * int(n)
        self.dispatched.append(Tally(self, int(n), self.done_at))
        self.now += 1e-4  # the host's part
        return state, self.dispatched[-1]


class Tally:
    """The result of a dispatch, at hand at a time."""

    def __init__(self, device, steps, at):
        self.device, self.steps, self.at = device, steps, at

    def block_until_ready(self):
        self.device.now = max(self.device.now, self.at)
        return self


def quiet(save):
    """What the loop's outputs write to, of which only the checkpoints count."""
    return types.SimpleNamespace(
        check=lambda step, metric_sums: None, log=lambda step, metric_sums: "",
        evaluate=lambda step, state: lambda: None, save=save,
    )  # fmt: skip


def train(device, monkeypatch, *, most, steps=400, log_every=1000, stop_at=float("inf")):
    """The loop on a `Device`, told to stop at a time; returns when the step at hand was saved, or None."""
    monkeypatch.setattr(trainer, "Pace", functools.partial(pace.Pace, clock=device.clock))
    monkeypatch.setattr(preemption, "should_stop", lambda: device.now >= stop_at)
    saved = []

    def save(step, state, pending_eval):
        device.dispatched[-1].block_until_ready()
        saved.append((step, device.now))

    def run():
        test_loop.trainer(
            quiet(save), step=device.step, blocks=lambda epoch, row, sizes: (None for _ in sizes), epochs=1,
            per_epoch=steps, log_every=log_every, save_every=10**6, most=most,
        ).fit()  # fmt: skip

    if stop_at == float("inf"):
        run()
        assert sum(one.steps for one in device.dispatched) == steps
    else:
        with pytest.raises(preemption.Stopped):
            run()
        assert saved[-1][0] == sum(one.steps for one in device.dispatched)
    return saved[-1][1]


@pytest.mark.parametrize("seconds", [0.002, 0.03, 0.3, 1.2, 15.0])  # a step of digits, CIFAR, ..., 224 pixels on a CPU
@pytest.mark.parametrize("most", [1, 7, 50])
@pytest.mark.parametrize("when", [0.0, 0.35, 0.9])
def test_a_stop_waits_for_two_seconds_or_the_step_that_runs(monkeypatch, seconds, most, when):
    device = Device(seconds)
    stop_at = when * 2000 * seconds
    saved_at = train(device, monkeypatch, most=most, steps=2000, stop_at=stop_at)
    assert saved_at - stop_at <= max(2 * pace.LONG, pace.SECONDS, (2 if stop_at < 2 * seconds else 1) * seconds) + 0.1


@pytest.mark.parametrize(("seconds", "steps"), [(0.001, 50), (0.05, 40), (0.3, 6), (3.0, 1)])
def test_dispatches_last_two_seconds_once_a_step_is_known(monkeypatch, seconds, steps):
    """And the device always has work, but for the host's own part behind a long dispatch."""
    device = Device(seconds)
    end = train(device, monkeypatch, most=50)
    assert device.dispatched[0].steps == 1
    assert {one.steps for one in device.dispatched[3:-1]} == {steps}
    assert end <= 400 * seconds * 1.01 + 0.01


def test_a_step_that_becomes_slower_shortens_dispatches(monkeypatch):
    device = Device(0.01)
    original = device.step

    def slower(state, inputs, block, n):
        device.seconds = 0.01 if len(device.dispatched) < 20 else 0.5
        return original(state, inputs, block, n)

    device.step = slower
    train(device, monkeypatch, most=50, steps=4000)
    assert max(one.steps for one in device.dispatched[5:19]) == 50
    assert max(one.steps for one in device.dispatched[-20:-1]) == 4


def test_the_bar_moves_with_what_is_done(monkeypatch):
    """Not with what is dispatched: its rate and its time left are then right."""
    device, shown = Device(0.3), []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def update(self, steps):
            shown.append((device.now, steps))

        def set_postfix_str(self, text, refresh):
            pass

    monkeypatch.setattr(trainer.logs, "progress", lambda *_: Bar())
    train(device, monkeypatch, most=1, steps=40)
    told = list(itertools.accumulate(steps for _, steps in shown))
    assert told[-1] == 40
    for (now, _), steps in zip(shown, told, strict=True):
        assert abs(steps - now / 0.3) <= 1


def test_the_real_queue_is_short(monkeypatch):
    """JAX's own dispatch, which returns before the step is done: what is computed after the stop."""

    @jax.jit
    def slow(state):
        return jax.lax.fori_loop(0, 40, lambda _, x: jnp.sin(x @ x / 600), state)

    slow(jnp.eye(400)).block_until_ready()
    began = time.monotonic()
    slow(jnp.eye(400)).block_until_ready()
    seconds, asked, dispatched = time.monotonic() - began, [], []

    def due():
        if len(dispatched) == 10:
            asked.append(time.monotonic())
        return bool(asked)

    monkeypatch.setattr(preemption, "should_stop", due)

    def step(state, inputs, block, n):
        dispatched.append(1)
        state = slow(state)
        return state, {"sum": state.sum()}

    with pytest.raises(preemption.Stopped):
        test_loop.trainer(
            quiet(lambda step, state, pending_eval: state.block_until_ready()), jnp.eye(400), step=step,
            blocks=lambda epoch, row, sizes: (None for _ in sizes), epochs=1, per_epoch=50, log_every=100,
            save_every=1000, most=1,
        ).fit()  # fmt: skip
    assert time.monotonic() - asked[0] < 4 * seconds  # of two at most, on a machine with other work


SHORT = {"stages": ("representation",), "representation.epochs": 2, "log.every_steps": 7, "checkpoint.every_steps": 50}


@pytest.fixture
def loops(monkeypatch, quick_compilation):
    """Steps run in a loop, as on an accelerator."""
    monkeypatch.setattr(backend, "loops", lambda *, resident: resident)


def run(workdir, **keys):
    experiment.run(override(digits(), SHORT | {k.replace("__", "."): v for k, v in keys.items()}), workdir)
    return workdir


class Lengths:
    """A `Pace` whose dispatches have given lengths, again and again."""

    def __init__(self, lengths):
        self._lengths = itertools.cycle(lengths)

    def __call__(self, most):
        found = pace.Pace(most)
        found.steps = lambda: min(next(self._lengths), most)
        return found


@pytest.mark.slow
@pytest.mark.usefixtures("loops")
def test_how_dispatches_are_cut_changes_no_bit(tmp_path, monkeypatch):
    whole = run(tmp_path / "as the pace has it")
    assert_same_run(run(tmp_path / "8 at most", steps_per_call=8), whole, ["representation"])
    for i, lengths in enumerate(([1], [4], [3, 1, 7, 2])):
        monkeypatch.setattr(trainer, "Pace", Lengths(lengths))
        assert_same_run(run(tmp_path / f"cut {i}"), whole, ["representation"])


@pytest.mark.usefixtures("loops")
def test_one_program_for_any_number_of_steps(monkeypatch):
    """What makes the test above hold on any backend: the text of the program that is compiled."""
    programs, stages = set(), []
    for wanted, most in ((1, 1), (3, 3), (0, 7)):
        parts = RunContext(override(digits(), SHORT | {"steps_per_call": wanted}))
        stages.append(parts.stage("representation", 1))
        assert stages[-1].steps_per_call == most
        state, inputs = stages[-1].shapes()
        block = next(stages[-1].input_pipeline.blocks([0], 0, 0, [1]))
        programs.add(stages[-1].step.lower(state, inputs, block, np.int32(1)).as_text())
    assert len(programs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_call", [0, 3, 8])
def test_on_a_cpu_steps_per_call_changes_no_bit(tmp_path, quick_compilation, steps_per_call):
    several = run(tmp_path / "several", steps_per_call=steps_per_call)
    assert_same_run(several, run(tmp_path / "one", steps_per_call=1), ["representation"])
