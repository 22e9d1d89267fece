"""Every program compiles once: the train step per stage, the eval step per stage and split."""

from collections import Counter

import jax
import pytest
from tiny import digits, override

from gcl_jax.runtime import backend
from gcl_jax.training import experiment


@pytest.fixture
def compiled():
    """Names of the programs compiled since the test began, as jit(NAME) -> times."""
    found, live = Counter(), [True]

    def listen(event, duration, **details):
        if live and event == "/jax/core/compile/backend_compile_duration":
            found[details.get("fun_name")] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    live.clear()  # there is no public way to unregister


pytestmark = pytest.mark.usefixtures("quick_compilation")
SHORT = {"data.validation_fraction": 0.2, "eval.batch_size": 64, "representation.epochs": 3, "classifier.epochs": 2}


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_call", [1, 3])
def test_seeds_in_turn_share_their_programs(tmp_path, compiled, monkeypatch, steps_per_call):
    """Two seeds, two stages, several epochs with log lines and checkpoints that cut dispatches short, two splits."""
    monkeypatch.setattr(backend, "loops", lambda *, resident: steps_per_call > 1)
    config = override(digits(), SHORT | {"num_seeds": 2, "seeds_at_once": 1, "steps_per_call": steps_per_call})
    experiment.run(config, tmp_path)
    assert compiled["jit(train_step)"] == 2
    assert compiled["jit(eval_step)"] == 2 * 2


@pytest.mark.slow
def test_seeds_side_by_side_are_one_program(tmp_path, compiled, monkeypatch):
    monkeypatch.setattr(backend, "loops", lambda *, resident: resident)
    config = override(digits(), SHORT | {"num_seeds": 2, "seeds_at_once": 2, "steps_per_call": 3})
    experiment.run(config, tmp_path)
    assert compiled["jit(train_step)"] == 2
    assert compiled["jit(eval_step)"] == 2 * 2


def test_the_count_sees_a_second_program(compiled):
    twice = jax.jit(lambda x: 2 * x)
    for shape in (3, 4):
        twice(jax.numpy.ones(shape))
    assert compiled["jit(<lambda>)"] == 2
