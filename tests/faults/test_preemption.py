"""A signal at any moment: exit status 0, and the run that goes on ends bit for bit as if nothing had happened."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from same_run import assert_same_run
from test_loop import run as run_loop
from tiny import digits, load_config, override

from gcl_jax import data
from gcl_jax.checkpoints import checkpoint, integrity
from gcl_jax.checkpoints.checkpoint import Checkpoints
from gcl_jax.runtime import preemption
from gcl_jax.table import __main__ as table
from gcl_jax.table import runs
from gcl_jax.training import evaluate, experiment
from gcl_jax.training.stage import Stage
from gcl_jax.training.stage_run import StageRun
from gcl_jax.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("quick_compilation")


def config():
    """8 steps an epoch, checkpoints every 5, 8 batches an evaluation, a validation part."""
    return override(digits(), {"eval.batch_size": 64, "data.validation_fraction": 0.1, "classifier.epochs": 1})


def signaling(function, calls, number=signal.SIGTERM):
    """``function``, which at its call of that number is called after the signal has come."""
    done = [0]

    def wrapped(*args, **kwargs):
        done[0] += 1
        if done[0] == calls:
            os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    return wrapped


def stop(work):
    """Do ``work`` as a command would; it has to end with status 0."""
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    with pytest.raises(SystemExit) as ended, preemption.signal_handlers():
        work()
    assert ended.value.code == 0
    assert [signal.getsignal(number) for number in preemption.SIGNALS] == before


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, quick_compilation):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    experiment.run(config(), workdir)
    return workdir


def saved(workdir, stage="representation"):
    return sorted(int(p.name) for p in (workdir / stage / "checkpoints").glob("[0-9]*") if p.name.isdigit())


# The step after which representation is saved then; None where there is nothing to save yet.
PHASES = {
    "data": ((data, "load", 1), None),
    "compilation": ((Stage, "compile", 1), None),
    "training": ((StageRun, "log", 1), 5),  # step 4's line is fetched after the dispatch of step 5
    "evaluation": ((StageRun, "evaluate", 1), 8),
    "checkpoint": ((Checkpoints, "save", 1), 6),
    "stage end": ((StageRun, "finish", 1), 16),
}


# An evaluation that is cut off has a test of its own.
@pytest.mark.parametrize("phase", [pytest.param(p, marks=[pytest.mark.slow] * (p != "training")) for p in PHASES])
def test_a_signal_in_every_phase(undisturbed, tmp_path, monkeypatch, capsys, phase):
    (owner, name, calls), step = PHASES[phase]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, signaling(getattr(owner, name), calls))
        stop(lambda: experiment.run(config(), tmp_path / "run"))
    assert "the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "run" / "representation" / "DONE.json").exists()
    assert max(saved(tmp_path / "run"), default=None) == step
    if step is None:
        return  # to go on is to start
    experiment.run(config(), tmp_path / "run")
    assert_same_run(tmp_path / "run", undisturbed)
    kept = "representation/best_on_validation/checkpoints"
    best = [checkpoint.read(workdir / kept)[1] for workdir in (tmp_path / "run", undisturbed)]
    for key in ("validation_accuracy", "arrays"):
        assert best[0][key] == best[1][key]


@pytest.mark.slow
def test_an_evaluation_that_is_cut_off_again_and_again_is_owed(undisturbed, tmp_path, monkeypatch, capsys):
    """In the fourth of its eight batches; then before the second; then killed with its lines written."""
    workdir, make = tmp_path / "run", evaluate.make_eval_step
    for batches in (4, 2):
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, "make_eval_step", lambda *a, n=batches: signaling(make(*a), n, signal.SIGINT))
            stop(lambda: experiment.run(config(), workdir))
        assert saved(workdir) == [5, 8]
        kinds = [json.loads(line)["kind"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        assert kinds == ["train"] * 2  # 4, 8
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", signaling(Trainer.fit, 1, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):  # no command: Python's own answer
            experiment.run(config(), workdir)
    assert saved(workdir) == [5, 8]
    assert '"kind": "test"' in (workdir / "metrics.jsonl").read_text()
    experiment.run(config(), workdir)
    assert_same_run(workdir, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "patched"),
    [("nearest_class_mean", (evaluate, "features", 1)), ("tau_norm", (Stage, "evaluate", 4))],
)
def test_a_signal_in_the_class_means_pass_and_while_tuning(tmp_path, monkeypatch, row, patched):
    short = {"representation.epochs": 2, "eval.every_epochs": 2}
    whole = experiment.run(override(load_config(f"digits_lt:{row}"), short), tmp_path / "whole")
    owner, name, calls = patched
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, signaling(getattr(owner, name), calls))
        stop(lambda: experiment.run(override(load_config(f"digits_lt:{row}"), short), tmp_path / "run"))
    assert not (tmp_path / "run" / "result.json").exists()
    again = experiment.run(override(load_config(f"digits_lt:{row}"), short), tmp_path / "run")
    assert again["final"] == whole["final"]


@pytest.mark.parametrize("patched", [(runs, "run_cell"), pytest.param((StageRun, "log"), marks=pytest.mark.slow)])
def test_a_table_stops_and_says_what_is_not_finished(tmp_path, monkeypatch, capsys, patched):
    monkeypatch.setattr(*patched, signaling(getattr(*patched), 1))
    arguments = ["table1", f"--workdir={tmp_path}", "--dataset=digits_lt", "--ratio=100", "--only=ce,gcl"]
    stop(lambda: table.main([*arguments, "--config.representation.epochs=2"]))
    told = capsys.readouterr().out
    assert "table1 is not finished: ce on digits_lt_100, gcl on digits_lt_100" in told
    assert not list(tmp_path.rglob("DONE.json"))


@pytest.mark.parametrize("stop_at", range(1, 11))
def test_the_loop_saves_and_stops_at_the_step_at_hand(monkeypatch, stop_at):
    """After that many dispatches, at steps with and without log line, evaluation and checkpoint."""
    asked = iter([False] * (stop_at - 1) + [True] * 9)
    whole, events = run_loop(most=1), []
    monkeypatch.setattr(preemption, "should_stop", lambda: next(asked))
    with pytest.raises(preemption.Stopped, match=r"stopped after step \d+ of 10, which is saved"):
        run_loop(most=1, events=events)
    last = [e[2] for e in events if e[0] == "dispatch"][-1]
    assert events[-1] == ("save", last, last)
    assert last == stop_at
    told = [e for e in whole if e[0] in ("log", "evaluated") and e[1] <= last]
    assert [e for e in events if e[0] in ("log", "evaluated")] == told  # late lines are written before the save


BUSY = """
import hashlib, sys
from gcl_jax.runtime import preemption
with preemption.signal_handlers(), preemption.deferred():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # a minute or more in C, as XLA's compiler is
"""


def test_a_second_interrupt_stops_at_once_even_inside_a_library():
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert process.wait(timeout=20) == 128 + signal.SIGINT
    assert "SIGINT: stopping as soon as what was done is saved" in process.stderr.read()


JOINING = """
from gcl_jax.runtime import distributed, preemption
with preemption.signal_handlers():
    print("ready", flush=True)
    distributed.start("localhost:PORT", 2, 0)  # the other never comes
"""


def test_a_process_that_waits_for_others_stops_at_once():
    processes = {}
    for number in preemption.SIGNALS:
        with socket.socket() as opened:
            opened.bind(("localhost", 0))
            script = JOINING.replace("PORT", str(opened.getsockname()[1]))
        processes[number] = subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
    for process in processes.values():
        assert process.stdout.readline() == "ready\n"
    time.sleep(4)
    for number, process in processes.items():
        process.send_signal(number)
        assert process.wait(timeout=20) == 0, number
        assert process.stdout.read() == f"{preemption.STOPPED}\n"


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_a_signal_while_the_command_is_imported(number):
    command = [sys.executable, "-X", "importtime", "-m", "gcl_jax.main", "--config=no.py"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any(
        "gcl_jax.runtime.preemption" in line for line in process.stderr
    )  # read up to there; False where it ends before
    time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, f"{preemption.STOPPED}\n")


LEAVING = """
import atexit, time
from gcl_jax.runtime import preemption
atexit.register(lambda: (print("leaving", flush=True), time.sleep(2)))
try:
    with preemption.signal_handlers():
        pass
finally:
    preemption.ignore()
"""


def test_a_signal_while_python_leaves_changes_no_status():
    command = [sys.executable, "-c", LEAVING]
    processes = {n: subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for n in preemption.SIGNALS}
    for number, process in processes.items():
        assert process.stdout.readline() == "leaving\n"
        process.send_signal(number)
    for number, process in processes.items():
        assert process.wait(timeout=20) == 0, number


def test_without_a_command_a_signal_keeps_its_meaning():
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        pytest.fail("no KeyboardInterrupt")
    assert not preemption.should_stop()


def test_saves_by_the_clock_change_no_result(undisturbed, tmp_path):
    """At every log line, here."""
    often = override(config(), {"checkpoint.every_minutes": 1e-9, "checkpoint.keep": 100})
    experiment.run(often, tmp_path / "run")
    assert saved(tmp_path / "run") == [4, 5, 8, 10, 12, 15, 16]
    assert_same_run(tmp_path / "run", undisturbed)


def test_the_best_on_validation_is_kept_where_a_stage_can_start_from(undisturbed, tmp_path):
    folder = undisturbed / "representation" / "best_on_validation"
    variables, note, step = checkpoint.read(folder / "checkpoints")
    lines = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    scores = {x["step"]: x["accuracy"] for x in lines if (x["stage"], x["kind"]) == ("representation", "validation")}
    assert step == max(scores, key=scores.get)
    assert note["validation_accuracy"] == scores[step]
    start = {"stages": ("classifier",), "classifier.init_from": str(folder), "classifier.epochs": 1}
    result = experiment.run(override(config(), start), tmp_path / "run")
    assert result["stages"]["classifier"]["steps"] == 8
    after, _, _ = checkpoint.read(tmp_path / "run" / "classifier" / "checkpoints")
    kernel = "params/backbone/conv1/kernel"
    np.testing.assert_array_equal(after[kernel], variables[kernel])


def test_a_checkpoint_waits_for_the_best_before_it(tmp_path, monkeypatch):
    """Killed between the two, a run would go on with the line of a best that is nowhere."""
    list_files, save = Checkpoints._list_files, StageRun.save

    def slowly(checkpoints):
        if checkpoints._folder.parent.name == integrity.BEST:
            time.sleep(1)
        list_files(checkpoints)

    def saved_both(run, step, *args):
        save(run, step, *args)
        run._checkpoints.wait()
        records = [x for x in run._run.records("representation") if x["kind"] == "validation"]
        best = max(records, key=lambda x: x["accuracy"])["step"]
        folder = run._dir.path / integrity.BEST / "checkpoints"
        there.append(best in [int(path.name) for path in folder.iterdir() if path.name.isdecimal()])

    there = []
    monkeypatch.setattr(Checkpoints, "_list_files", slowly)
    monkeypatch.setattr(StageRun, "save", saved_both)
    experiment.run(override(config(), {"checkpoint.every_steps": 8, "stages": ("representation",)}), tmp_path / "run")
    assert there == [True, True]
