"""launch/sweep.py: a command a point, all checked before any runs; what it does where one fails or is stopped."""

import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

SWEEP = ROOT / "launch/sweep.py"
CONFIG = f"{ROOT}/configs/digits_lt.py:gcl"


@pytest.fixture(scope="module")
def sweep():
    """The module."""
    spec = importlib.util.spec_from_file_location("sweep", SWEEP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(sweep, capsys, *arguments):
    sweep.main([f"--config={CONFIG}", "--workdir=runs/my sweep", *arguments])
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert all(words[0] == "env" and words[1].startswith(f"PYTHONPATH={ROOT}") for words in lines)
    return [words[2:] for words in lines]


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
        (["--grid=seed=0,-1"], r"config\.seed is -1; it must lie in \[0, 4294967295\]$"),
        (["--grid=seed=0", "--config.sed=1"], r"config\.sed does not exist; the nearest is config\.seed$"),
        (["--grid=seed="], r"--grid=seed=: write --grid=KEY=VALUE,VALUE"),
        (["--grid=seed=1,1"], r"two points would share the workdir runs/my sweep/seed=1"),
        (
            ["--grid=seed=0,1", "--grid=seed=1,2"],
            r"--grid=seed=1,2: seed is an axis already; give all",
        ),
        (["--grid=seed=0,1", "--workdir="], r"--workdir is empty; name a folder for the runs"),
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


@pytest.fixture
def signals():
    """What the sweep answers differently is put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("scripts", "keep_going", "status", "finished"),
    [
        ([FINISH, FINISH], False, 0, [0, 1]),
        ([FINISH, "exit 7", FINISH], False, 7, [0]),
        ([FINISH, "exit 7", FINISH], True, 1, [0, 2]),
        (["kill -9 $$", FINISH], False, 137, []),
        ([FINISH, ":", FINISH], True, 0, [0]),  # the second was preempted: it saved, and ended with status 0
        ([FINISH, "kill $$", FINISH], True, 0, [0]),  # the same in Python's first second
        ([FINISH, "exit 130", FINISH], True, 0, [0]),
    ],
)
def test_failures_and_the_exit_status(sweep, tmp_path, signals, scripts, keep_going, status, finished):
    assert sweep.run(runs(tmp_path, *scripts), keep_going=keep_going) == status
    assert [i for i in range(len(scripts)) if (tmp_path / str(i) / "result.json").exists()] == finished


@pytest.mark.parametrize(
    ("script", "seeds", "told"),
    [
        (":", 0, "== 2 of 2 finished"),  # of one seed, finished before
        ("mkdir seed_1", 1, "== stopped; the same command goes on"),  # preempted when a seed was added
        (FINISH, 1, "== 2 of 2 finished"),
    ],
)
def test_an_older_result_of_several_seeds_is_not_taken_for_the_end(
    sweep, tmp_path, signals, capsys, script, seeds, told
):
    points = runs(tmp_path, script, FINISH)
    (tmp_path / "0/result.json").touch()
    os.utime(tmp_path / "0/result.json", (1e9, 1e9))
    for i in range(seeds):
        (tmp_path / f"0/seed_{i}").mkdir()
    assert sweep.run(points, keep_going=True) == 0
    assert capsys.readouterr().out.splitlines()[-1] == told


def test_a_home_in_the_workdir_is_found(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = []
    monkeypatch.setattr(sweep, "run", lambda runs, keep_going: found.extend(runs) or 0)
    with pytest.raises(SystemExit):
        sweep.main([f"--config={CONFIG}", "--workdir=~/x", "--grid=seed=0", "--run"])
    assert found[0][0] == f"{tmp_path}/x/seed=0"
    assert found[0][1][-1] == f"--workdir={tmp_path}/x/seed=0"


def test_what_is_printed_finds_the_package(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    sweep.main([f"--config={CONFIG}", "--workdir=runs/a", "--grid=seed=0"])
    line = capsys.readouterr().out.replace("-m gcl_jax.main", "-S -c 'import gcl_jax; print(gcl_jax.__file__)'")
    told = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path)
    assert told.stdout == f"{ROOT}/gcl_jax/__init__.py\n", told.stderr


def sweeping(tmp_path, *scripts):
    """A process that sweeps, once its first point is ready."""
    code = f"import sys; sys.path.insert(0, {str(SWEEP.parent)!r}); import sweep; "
    code += f"sys.exit(sweep.run({runs(tmp_path, *scripts)!r}, keep_going=True))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    appears(tmp_path / "0/ready")
    return process


def appears(file):
    until = time.monotonic() + 60
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert file.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_term_reaches_the_run_and_ends_the_sweep(tmp_path, number):
    first = "trap 'touch saved; exit 0' TERM; touch ready; while :; do sleep 0.1; done"
    process = sweeping(tmp_path, first, FINISH)
    process.send_signal(number)
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert told.splitlines()[-1] == "== stopped; the same command goes on"
    assert (tmp_path / "0/saved").exists()
    assert not (tmp_path / "1/result.json").exists()


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to the sweep alone", "from the terminal"])
def test_an_interrupt_reaches_the_run_once_and_so_does_a_second(tmp_path, send):
    first = "n=0; trap 'touch interrupt$((++n)); ((n < 2)) || exit 130' INT; touch ready; while :; do sleep 0.1; done"
    process = sweeping(tmp_path, first, FINISH)
    send(process.pid, signal.SIGINT)
    appears(tmp_path / "0/interrupt1")
    time.sleep(0.3)
    assert not (tmp_path / "0/interrupt2").exists()
    assert process.poll() is None
    send(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0].splitlines()[-1] == "== stopped; the same command goes on"
    assert process.returncode == 0
    assert not (tmp_path / "1/result.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_while_a_run_is_started_stops_it(sweep, tmp_path, signals, monkeypatch, number, when):
    started = []

    def start(*arguments, real=subprocess.Popen, **options):
        second = len(started) == 1
        if second and when == "before":
            signal.raise_signal(number)
        started.append(real(*arguments, **options))
        if second and when == "after":
            signal.raise_signal(number)
        return started[-1]

    monkeypatch.setattr(sweep.subprocess, "Popen", start)
    began = time.monotonic()
    assert sweep.run(runs(tmp_path, FINISH, "exec sleep 30", FINISH), keep_going=True) == 0
    assert time.monotonic() - began < 20
    assert len(started) == 2


@pytest.mark.slow
def test_a_sweep_trains_and_skips_what_is_finished(tmp_path):
    command = [sys.executable, str(SWEEP), f"--config={CONFIG}", f"--workdir={tmp_path}", "--grid=seed=0,1", "--run",
               "--config.representation.epochs=1", "--config.classifier.epochs=1"]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "== 2 of 2 finished"
    again = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert again.stdout.count("is finished already") == 2
    assert again.stdout.splitlines()[-1] == "== 2 of 2 finished"


@pytest.mark.slow
def test_of_several_seeds_a_result_is_written_again_and_a_start_saves_nothing(tmp_path):
    """What the launchers go by: what a real run leaves at its end, and each further start."""
    command = [sys.executable, "-m", "gcl_jax.main", f"--config={CONFIG}", f"--workdir={tmp_path}/w",
               "--config.representation.epochs=1", "--config.classifier.epochs=1", "--config.seed=3"]  # fmt: skip
    look = f"set -euo pipefail; . {ROOT}/launch/saved.sh; workdir={tmp_path}/w; saved"

    def saved():
        lines = subprocess.run(["bash", "-c", look], capture_output=True, text=True, check=True).stdout.splitlines()
        return {tuple(line.split(" ")) for line in lines}

    def new(*arguments, before=frozenset()):
        subprocess.run([*command, *arguments], check=True, capture_output=True, timeout=600)
        return {re.sub(r"checkpoints/\d+/.*", "checkpoints", path) for _, path in saved() - before}

    stages = [f"seed_{{}}/{stage}/{what}" for stage in ("representation", "classifier")
              for what in ("checkpoints", "DONE.json")]  # fmt: skip
    first = {file.format(3) for file in [*stages, "seed_{}/result.json"]}
    second = {file.format(4) for file in [*stages, "seed_{}/result.json"]}
    assert new("--config.num_seeds=2") == first | second | {"result.json"}
    before = saved()
    assert new("--config.num_seeds=2", before=before) == {"result.json"}
    assert new("--config.num_seeds=2", "--eval_only", before=saved()) == {"eval.json"}
    before, began = saved(), (tmp_path / "w/config.json").stat().st_mtime_ns
    process = subprocess.Popen([*command, "--config.num_seeds=3"], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 100
    while (tmp_path / "w/config.json").stat().st_mtime_ns == began and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert (tmp_path / "w/config.json").stat().st_mtime_ns != began
    assert saved() == before
