"""kill -9 and SIGTERM at random moments: the run ends bit for bit as if nothing had happened."""

import os
import random

import pytest
from conftest import QUICK
from faults.campaign import campaign
from tiny import override_flags

FLAGS = [
    "--config=configs/digits_lt.py:gcl",
    *override_flags(
        representation__epochs=6, classifier__epochs=3, eval__every_epochs=1, log__every_steps=4,
        checkpoint__every_steps=5, representation__method__mixup_alpha=1.0,
    ),
]  # fmt: skip


@pytest.mark.slow  # chosen moments: test_resume and test_preemption
@pytest.mark.parametrize(("processes", "hits"), [(1, 20), (2, 6)])
def test_a_run_that_is_hit_again_and_again(tmp_path, monkeypatch, processes, hits):
    """Another seed each time; GCL_JAX_FAULT_SEED repeats one, as far as moments can be repeated."""
    seed = int(os.environ.get("GCL_JAX_FAULT_SEED") or random.SystemRandom().randrange(2**32))
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    print(f"GCL_JAX_FAULT_SEED={seed}")
    tally = campaign(FLAGS, tmp_path, processes=processes, least=hits, seed=seed)
    assert tally.kills + tally.terms == hits
    assert not tally.differences, f"GCL_JAX_FAULT_SEED={seed}: {tally}"
