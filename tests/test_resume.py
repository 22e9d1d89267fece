"""kill -9 anywhere, start again: the run ends bit for bit as if nothing had happened."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import QUICK, ROOT
from same_run import assert_same_run
from tiny import override_flags

from gcl_jax.checkpoints import checkpoint

# 9 steps an epoch: 27 and 18 steps, with checkpoints in mid-epoch.
CONFIG = "digits_lt.py:gcl"
FLAGS = [
    *override_flags(
        representation__epochs=3,
        classifier__epochs=2,
        eval__every_epochs=1,
        log__every_steps=4,
        checkpoint__every_steps=5,
        representation__method__mixup_alpha=1.0,
    ),
]


def start(workdir, *command, config=CONFIG, flags=()):
    flags = [f"--config=configs/{config}", *(FLAGS if config == CONFIG else []), *flags, f"--workdir={workdir}"]
    return subprocess.run(
        [sys.executable, *command, *flags],
        cwd=ROOT,
        env=os.environ | QUICK | {"JAX_NUM_CPU_DEVICES": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def finish(workdir, flags=(), config=CONFIG, command=("-m", "gcl_jax.main")):
    done = start(workdir, *command, config=config, flags=flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(workdir)
    return workdir


# Before the first checkpoint (5); in mid-epoch after one; while one is being written.
MOMENTS = [("step", 3), ("step", 13), ("save", 15)]


@pytest.mark.parametrize(
    ("stage", "moments"),
    [
        ("representation", MOMENTS[1:]),
        ("classifier", MOMENTS[2:]),
        pytest.param("representation", MOMENTS, marks=pytest.mark.slow),
        pytest.param("classifier", MOMENTS, marks=pytest.mark.slow),
    ],
)
def test_kill_and_resume(undisturbed, tmp_path, stage, moments):
    workdir = tmp_path / "run"
    if stage == "classifier":  # its kills need no first stage trained again
        shutil.copytree(undisturbed, workdir)
        shutil.rmtree(workdir / "classifier")
        (workdir / "result.json").unlink()
        lines = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
        half = '{"stage": "classifier", "st'  # of a line that a kill left unfinished
        (workdir / "metrics.jsonl").write_text("".join(x for x in lines if '"classifier"' not in x) + half)
    for moment, number in moments:
        killed = start(workdir, "tests/run_and_kill.py", stage, moment, str(number))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (workdir / stage / "DONE.json").exists()
        if moment == "save":
            names = [p.name for p in (workdir / stage / "checkpoints").iterdir()]
            assert str(number) not in names
            assert any(name.startswith(f"{number}.") for name in names), "the kill came before the write had begun"
    finish(workdir)
    assert_same_run(workdir, undisturbed)


def test_a_finished_run_prints_its_result_and_changes_nothing(undisturbed):
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*.json*")}
    output = finish(undisturbed)
    assert "finished already" in output
    assert "classifier" in output
    assert {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*.json*")} == before


@pytest.mark.slow
def test_several_steps_a_dispatch(tmp_path):
    """The same with 4 steps a dispatch, whose cuts a kill moves."""
    flags, loops = override_flags(steps_per_call=4), ("tests/run_and_kill.py", "representation", "never", "0")
    finish(tmp_path / "whole", flags, command=loops)
    for moment, number in MOMENTS:
        killed = start(tmp_path / "cut", "tests/run_and_kill.py", "representation", moment, str(number), flags=flags)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    finish(tmp_path / "cut", flags, command=loops)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.slow
def test_seeds_side_by_side(tmp_path):
    """Killed between one seed's checkpoint and the other's: both go on from the newest that both have."""
    flags = override_flags(num_seeds=2, seeds_at_once=2, stages="('representation',)")
    finish(tmp_path / "whole", flags)
    killed = start(tmp_path / "cut", "tests/run_and_kill.py", "representation", "step", "18", flags=flags)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    saved = [tmp_path / "cut" / f"seed_{seed}" / "representation" / "checkpoints" for seed in (0, 1)]
    steps = [sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit()) for folder in saved]
    common = sorted(set(steps[0]) & set(steps[1]))
    assert len(common) >= 2, steps
    shutil.rmtree(saved[1] / str(common[-1]))
    assert f"resuming after step {common[-2]}" in finish(tmp_path / "cut", flags)
    for seed in ("seed_0", "seed_1"):
        assert_same_run(tmp_path / "cut" / seed, tmp_path / "whole" / seed, stages=("representation",))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "stages", "moves"),
    [
        ("tde", ("representation",), "method_state/moving_feature"),
        ("oltr", ("representation", "meta_embedding"), "params/head/centroids"),
    ],
)
def test_what_a_method_moves_beside_its_network(tmp_path, method, stages, moves):
    """TDE's moving feature and OLTR's centroids, killed in mid-epoch between two checkpoints."""
    short = {f"{stage}__epochs": 5 for stage in stages}
    flags = override_flags(**short, eval__every_epochs=5, log__every_steps=2, checkpoint__every_steps=3)
    config = f"digits_lt.py:{method}"
    finish(tmp_path / "whole", flags, config)
    killed = start(
        tmp_path / "cut", "tests/run_and_kill.py", stages[-1], "step", "8", config=config, flags=flags
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before, _, step = checkpoint.read(tmp_path / "cut" / stages[-1] / "checkpoints")
    assert 0 < step < 8
    finish(tmp_path / "cut", flags, config)
    assert_same_run(tmp_path / "cut", tmp_path / "whole", stages)
    after, _, _ = checkpoint.read(tmp_path / "cut" / stages[-1] / "checkpoints")
    assert np.abs(before[moves]).max() > 0
    assert np.abs(before[moves] - after[moves]).max() > 0
