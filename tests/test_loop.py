"""The host loop: where dispatches are cut, what is due when, and that numbers are fetched late."""

import itertools

import numpy as np
import pytest

from gcl_jax.training.dispatches import Every, lengths
from gcl_jax.training.outputs import Evaluate, Log, NonFinite, Save, Stop
from gcl_jax.training.trainer import Program, Trainer


@pytest.mark.parametrize("per_epoch", [1, 7, 9])
@pytest.mark.parametrize("log_every", [1, 3, 50])
@pytest.mark.parametrize("save_every", [1, 5, 16, 100])
@pytest.mark.parametrize("most", [1, 2, 4, 9])
def test_no_dispatch_crosses_what_is_due(per_epoch, log_every, save_every, most):
    """From every step on: the epoch ends with the last one, and log lines and checkpoints with some other."""
    for first in range(3 * per_epoch):
        found = lengths(first, per_epoch, [Every(log_every, per_epoch), Every(save_every)], max_steps=most)
        stops = list(itertools.accumulate(found, initial=first))
        end = (first // per_epoch + 1) * per_epoch
        assert stops[-1] == end
        assert min(found) >= 1
        assert max(found) <= most
        for step in range(first + 1, end + 1):
            if step % per_epoch % log_every == 0 or step % save_every == 0:
                assert step in stops
        # No more of them than that takes.
        due = [s for s in range(first, end) if s == first or s % per_epoch % log_every == 0 or s % save_every == 0]
        assert len(found) == sum(-(-(b - a) // most) for a, b in itertools.pairwise([*due, end]))


def trainer(runs, state=0, *, step, blocks, epochs, per_epoch, log_every, save_every, most, first=0, eval_every=1):
    """A `Trainer` with the outputs of every stage."""
    program = Program("a stage", step, None, blocks, epochs, per_epoch, most)
    line = Every(log_every, per_epoch)
    save = Save(Every(save_every), minutes=0, check_clock=line)
    outputs = [NonFinite(line), Log(line), Evaluate(Every(eval_every * per_epoch)), Stop(), save]
    return Trainer(program, runs, outputs, state, first)


class Runs:
    """Notes what outputs write."""

    def __init__(self, events):
        self.events = events

    def check(self, step, metric_sums):
        assert metric_sums["at"] == step

    def log(self, step, metric_sums):
        assert metric_sums["at"] == step
        self.events.append(("log", step))
        return ""

    def evaluate(self, step, state):
        assert state == step
        self.events.append(("eval", step))
        return lambda: self.events.append(("evaluated", step))

    def save(self, step, state, pending_eval):
        self.events.append(("save", step, state))


def run(*, first=0, epochs=2, per_epoch=5, log_every=2, save_every=4, eval_every=1, most=2, events=None):
    """The loop over a "state" that counts its steps; returns everything that happened, in order."""
    events = [] if events is None else events

    def step(state, constants, block, n):
        assert block == (state, int(n))  # the rows that are next
        events.append(("dispatch", state, state + int(n)))
        return state + int(n), {"count": np.float32(1), "at": state + int(n)}

    def blocks(epoch, row, sizes):
        at = epoch * per_epoch + row
        for size in sizes:
            yield at, size
            at += size

    state = trainer(
        Runs(events), first, step=step, blocks=blocks, epochs=epochs, per_epoch=per_epoch, log_every=log_every,
        save_every=save_every, most=most, first=first, eval_every=eval_every,
    ).fit()  # fmt: skip
    assert state == epochs * per_epoch
    return events


def test_order_of_events():
    """Update, log, evaluate, save; numbers of step 2 are fetched after the dispatch of 3..4, before the save of 4."""
    assert run() == [
        ("dispatch", 0, 1), ("dispatch", 1, 2),  # what a step takes is not known before the first
        ("dispatch", 2, 4), ("log", 2), ("log", 4), ("save", 4, 4),
        ("dispatch", 4, 5), ("eval", 5),
        ("dispatch", 5, 7), ("log", 5), ("evaluated", 5),
        ("dispatch", 7, 8), ("log", 7), ("save", 8, 8),
        ("dispatch", 8, 9),
        ("dispatch", 9, 10), ("log", 9), ("eval", 10), ("log", 10), ("evaluated", 10), ("save", 10, 10),
    ]  # fmt: skip


@pytest.mark.parametrize("first", range(11))
def test_a_resumed_loop_repeats_nothing_and_misses_nothing(first):
    def told(events):
        return [e for e in events if e[0] != "dispatch"]

    after = [e for e in told(run()) if e[1] > first]
    assert [e for e in told(run(first=first)) if e[1] > first] == after
    assert len(told(run(first=first))) == len(after)


def test_evaluation_every_few_epochs_and_at_the_end():
    events = run(epochs=5, eval_every=2)
    assert [e[1] for e in events if e[0] == "evaluated"] == [10, 20, 25]
