"""launch/sweep.py: a command a point, all checked before any runs; what it does where one fails or is stopped."""

import importlib.util
import shlex
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

SWEEP = ROOT / "launch/sweep.py"
CONFIG = f"{ROOT}/configs/digits_lt/gcl.py"


@pytest.fixture(scope="module")
def sweep():
    """The module."""
    spec = importlib.util.spec_from_file_location("sweep", SWEEP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(sweep, capsys, *arguments):
    sweep.main([f"--config={CONFIG}", "--workdir=runs/my sweep", *arguments])
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def test_one_command_a_point_the_last_axis_fastest(sweep, capsys):
    rate = "representation.optimizer.learning_rate"
    found = printed(sweep, capsys, f"--grid={rate}=0.05,0.1", "--config.precision=bf16", "--grid=seed=0,1")
    assert found == [
        [sys.executable, "-m", "gcl_jax.main", f"--config={CONFIG}", "--config.precision=bf16",
         f"--config.{rate}={a}", f"--config.seed={seed}", f"--workdir=runs/my sweep/{rate}={a},seed={seed}"]
        for a in ("0.05", "0.1") for seed in (0, 1)
    ]  # fmt: skip


def test_values_with_commas_and_what_no_folder_can_be_called(sweep, capsys):
    found = printed(sweep, capsys, "--grid=data.mean=(0.1, ),(0.4,)", "--grid=data.path=a/b,c d")
    assert [command[-1].rpartition("/")[2] for command in found] == [
        f"data.mean={a},data.path={b}" for a in ("(0.1_)", "(0.4_)") for b in ("a_b", "c_d")
    ]
    assert found[0][4:6] == ["--config.data.mean=(0.1, )", "--config.data.path=a/b"]
    assert sweep.values("('a,b', [1,2]),\"x,y\",z") == ["('a,b', [1,2])", '"x,y"', "z"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid=sed=0,1"], r"config\.sed does not exist; the nearest is config\.seed$"),
        (["--grid=seed=0,x"], r"config\.seed is 'x'; it must be of type int, such as 0$"),
        (["--grid=seed=0,-1"], r"config\.seed is -1; it must be at least 0$"),
        (["--grid=seed=0", "--config.sed=1"], r"config\.sed does not exist; the nearest is config\.seed$"),
        (["--grid=seed="], r"--grid=seed=: write --grid=KEY=VALUE,VALUE"),
        (["--grid=seed=1,1"], r"two points would share the workdir runs/my sweep/seed=1"),
        (["--grid=data.path=a/b,a_b"], r"two points would share the workdir"),
        (["--grid=seed=1", "--eval_only"], r"'--eval_only' is no argument of this command"),
        (["--grid=seed=1", "--run", "--dry-run"], r"--run and --dry-run exclude each other"),
        (["--seed=1"], r"the following arguments are required: --grid"),
        ([f"--grid=data.path={'x' * 300}"], r"would have too long a name"),
    ],
)
def test_what_is_wrong_is_said_as_main_does_and_nothing_runs(sweep, monkeypatch, arguments, message):
    monkeypatch.setattr(sweep, "run", None)
    with pytest.raises(SystemExit, match="^error: .*" + message):
        sweep.main([f"--config={CONFIG}", "--workdir=runs/my sweep", *arguments])


def runs(tmp_path, *scripts):
    """Points of a sweep that run these instead of main."""
    for i in range(len(scripts)):
        (tmp_path / str(i)).mkdir()
    return [
        (str(tmp_path / str(i)), ["bash", "-c", f"cd {tmp_path}/{i}; {script}"]) for i, script in enumerate(scripts)
    ]


FINISH = "touch result.json"


@pytest.mark.parametrize(
    ("scripts", "keep_going", "status", "finished"),
    [
        ([FINISH, FINISH], False, 0, [0, 1]),
        ([FINISH, "exit 7", FINISH], False, 7, [0]),
        ([FINISH, "exit 7", FINISH], True, 1, [0, 2]),
        (["kill -9 $$", FINISH], False, 137, []),
        ([FINISH, ":", FINISH], True, 0, [0]),  # the second was preempted: it saved, and ended with status 0
    ],
)
def test_failures_and_the_exit_status(sweep, tmp_path, scripts, keep_going, status, finished):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert sweep.run(runs(tmp_path, *scripts), keep_going=keep_going) == status
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert [i for i in range(len(scripts)) if (tmp_path / str(i) / "result.json").exists()] == finished


def test_term_reaches_the_run_and_ends_the_sweep(tmp_path):
    first = "trap 'touch saved; exit 0' TERM; touch ready; while :; do sleep 0.1; done"
    points = runs(tmp_path, first, FINISH)
    code = f"import sys; sys.path.insert(0, {str(SWEEP.parent)!r}); import sweep; "
    code += f"sys.exit(sweep.run({points!r}, keep_going=True))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "0/ready").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.terminate()
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert told.splitlines()[-1] == "== stopped; the same command goes on"
    assert (tmp_path / "0/saved").exists()
    assert not (tmp_path / "1/result.json").exists()


@pytest.mark.slow
def test_a_sweep_trains_and_skips_what_is_finished(tmp_path):
    command = [sys.executable, str(SWEEP), f"--config={CONFIG}", f"--workdir={tmp_path}", "--grid=seed=0,1", "--run",
               "--config.representation.epochs=1", "--config.classifier.epochs=1"]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "== 2 of 2 finished"
    again = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert again.stdout.count("is finished already") == 2
