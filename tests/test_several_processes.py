"""Several processes are one run: equal results, one that writes, errors that end all; CPU, over the loopback.

The bounds are equivalence.py's: on parameters and batch statistics after 1 and after 20 steps at learning rate 0.01.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import photographs
import pytest
from conftest import ROOT, relative_error
from etils import epath
from same_run import assert_same_run as bitwise
from tiny import override_flags

from gcl_jax import stored_logits
from gcl_jax.checkpoints import checkpoint
from gcl_jax.errors import UserError
from gcl_jax.metrics import METRICS
from gcl_jax.runtime import distributed

LAYOUTS = {"1 x 4": (1, 4), "2 x 2": (2, 2), "4 x 1": (4, 1)}  # processes x devices
FLAGS = [
    "--config=configs/digits_lt.py:gcl",
    *override_flags(
        representation__epochs=3, classifier__epochs=2, checkpoint__every_steps=5, log__every_steps=4,
        representation__optimizer__learning_rate=0.01, classifier__optimizer__learning_rate=0.01,
    ),
]  # fmt: skip


def free_port():
    with socket.socket() as opened:
        opened.bind(("localhost", 0))
        return opened.getsockname()[1]


def start(commands, devices, cwd=ROOT):
    """Start a process for each of ``commands``, with so many devices; XLA compiles fast and hardly optimizes."""
    env = os.environ | {
        "JAX_NUM_CPU_DEVICES": str(devices),
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return [subprocess.Popen([sys.executable, *command], cwd=cwd, env=env, text=True, **pipes) for command in commands]


def ended(processes, timeout):
    """(exit status, stdout, stderr) of each; none is left running."""
    try:
        told = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(processes, told, strict=True)]


def run_main(workdir, processes, devices, flags=(), own=None, timeout=500):
    """`ended` of gcl_jax.main in so many processes; ``own`` {process: flags or another command} are of one alone."""
    port, commands = free_port(), []
    for i in range(processes):
        given = (own or {}).get(i, [])
        script = bool(given) and given[0].endswith(".py")
        command, own_flags = (given, []) if script else (["-m", "gcl_jax.main"], given)
        joined = [f"--coordinator=localhost:{port}", f"--num_processes={processes}", f"--process_id={i}"]
        commands.append(
            [*command, *FLAGS, f"--workdir={workdir}", *flags, *own_flags, *(joined if processes > 1 else [])]
        )
    return ended(start(commands, devices), timeout)


def finish(*args, **options):
    """Like `run_main`, of a run that has to succeed: what process 0 said."""
    found = run_main(*args, **options)
    for status, _, error in found:
        assert status == 0, error
    for _, out, _ in found[1:]:
        assert [line for line in out.splitlines() if not line.startswith("[Gloo]")] == []  # only process 0 prints
    return found[0][1]


def files(workdir):
    """All names in a run's folder, but for those of arrays inside the checkpoints."""
    return sorted(str(p.relative_to(workdir)) for p in workdir.rglob("*") if "/state/" not in str(p))


def assert_same_run(workdir, expected, stages=("representation", "classifier")):
    assert files(workdir) == files(expected)
    for stage in stages:
        ours, _, step = checkpoint.read(workdir / stage / "checkpoints")
        theirs, _, expected_step = checkpoint.read(expected / stage / "checkpoints")
        assert step == expected_step
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert relative_error(ours[name], value) <= 1e-3, name
        ours, theirs = (np.load(w / stage / "predictions_test.npz") for w in (workdir, expected))
        np.testing.assert_array_equal(ours["label"], theirs["label"])  # every image once, in order
        assert np.mean(ours["predicted"] != theirs["predicted"]) <= 0.002  # one of 500 may lie on an edge
        stored = stored_logits.read(epath.Path(workdir / stage))
        np.testing.assert_array_equal(stored.labels, ours["label"])
        np.testing.assert_array_equal(stored.logits.argmax(axis=1), ours["predicted"])
    steps = [
        [json.loads(x)["step"] for x in (w / "metrics.jsonl").read_text().splitlines()] for w in (workdir, expected)
    ]
    assert steps[0] == steps[1]
    ours, theirs = (json.loads((w / "result.json").read_text()) for w in (workdir, expected))
    assert ours["final"]["test"]["num_examples"] == theirs["final"]["test"]["num_examples"] == 500
    assert ours["data"] == theirs["data"]


def test_two_processes_are_one_run(tmp_path):
    flags = override_flags(stages="('representation',)", representation__epochs=1)
    said = finish(tmp_path / "two", 2, 1, flags)
    assert "epoch 1 of 1, test accuracy" in said
    finish(tmp_path / "one", 1, 2, flags)
    assert_same_run(tmp_path / "two", tmp_path / "one", ["representation"])
    assert json.loads((tmp_path / "two" / "result.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_logits_that_cannot_be_written_end_both(tmp_path):
    """Process 0 alone writes them, while both compute; what was trained stays, and the command goes on from there."""
    flags = override_flags(stages="('representation',)", representation__epochs=1, eval__metrics="('mcc',)")
    stage = tmp_path / "run" / "representation"
    (stage / "logits_test.npz").mkdir(parents=True)
    for status, _, error in run_main(tmp_path / "run", 2, 1, flags):
        assert status == 1
        assert "logits_test.npz could not be written (Is a directory)" in error
    assert not (stage / "DONE.json").exists()
    (stage / "logits_test.npz").rmdir()
    said = finish(tmp_path / "run", 2, 1, flags)
    assert "resuming after step 9" in said
    assert "logits stored as float16, test" in said
    found = stored_logits.read(epath.Path(stage))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    expected = METRICS["mcc"](found.logits, found.labels, found.class_counts)
    assert result["final"]["test"]["mcc"] == expected > 0.1


@pytest.mark.parametrize("port", [0, 65536])
def test_a_port_has_to_be_one(port):
    with pytest.raises(UserError, match=r"--coordinator is .*with a port of 1\.\.65535"):
        distributed.start(f"localhost:{port}", 2, 0)


def test_a_port_that_another_listens_at_is_refused():
    """As one does where two processes are started as process 0, or a run before is still there."""
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        with pytest.raises(UserError, match=r"cannot be listened at .Address already in use.*name a port"):
            distributed.start(f"localhost:{other.getsockname()[1]}", 2, 0)


def test_a_process_of_another_config_ends_both(tmp_path):
    for status, _, error in run_main(tmp_path, 2, 1, own={1: override_flags(seed=3)}, timeout=200):
        assert status == 1
        assert "process 1 of 2: the command differs from process 0's (config.seed: 0 -> 3)" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_process_of_other_code_ends_both(tmp_path):
    script = tmp_path / "other.py"
    change = "from gcl_jax.checkpoints import results\nresults.code = lambda: 'changed'\n"
    script.write_text(f"import runpy\n{change}runpy.run_module('gcl_jax.main', run_name='__main__')\n")
    for status, _, error in run_main(tmp_path / "run", 2, 1, own={1: [str(script)]}, timeout=200):
        assert status == 1
        assert "process 1 of 2: the command differs from process 0's (config.code: " in error


@pytest.mark.slow
def test_other_data_or_no_shared_workdir(tmp_path):
    """Each process in a folder of its own, as if on a machine of its own."""
    generator = np.random.default_rng(0)
    flags = [
        f"--config={ROOT}/configs/digits_lt.py:gcl",
        *override_flags(data__source="arrays", data__path="d.npz", data__profile="none", representation__batch_size=16),
        *override_flags(classifier__batch_size=16),
    ]

    def write(i, **changed):
        images, labels = generator.integers(0, 255, (60, 8, 8, 1), np.uint8), np.arange(60) % 10
        arrays = {"x_train": images, "x_test": images, "y_train": labels, "y_test": labels} | changed
        (tmp_path / str(i)).mkdir(exist_ok=True)
        np.savez(tmp_path / str(i) / "d.npz", **arrays)
        return arrays

    def errors(workdir):
        port = free_port()
        joined = [f"--coordinator=localhost:{port}", "--num_processes=2", f"--workdir={workdir}"]
        commands = [["-m", "gcl_jax.main", *flags, *joined, f"--process_id={i}"] for i in (0, 1)]
        own = [start([command], 1, tmp_path / str(i))[0] for i, command in enumerate(commands)]
        found = ended(own, 300)
        assert [status for status, _, _ in found] == [1, 1]
        return [error for _, _, error in found]

    first = write(0)
    (tmp_path / "1").mkdir()
    assert all("process 1 of 2: config.data.path: there is no file d.npz" in e for e in errors(tmp_path / "run"))
    write(1)
    assert all("process 1 of 2: the data set (what its files hold) differs" in e for e in errors(tmp_path / "run"))
    write(1, **first)
    assert all("is not seen here: name a --workdir that all processes share" in e for e in errors("own"))


@pytest.mark.slow
def test_a_signal_to_one_stops_all_at_the_same_step(tmp_path):
    """Each ends with status 0; what is saved is whole, and the run that goes on is bit for bit the undisturbed one."""
    flags = override_flags(stages="('representation',)", representation__epochs=8, checkpoint__every_steps=1000)
    port = free_port()
    joined = [f"--coordinator=localhost:{port}", "--num_processes=2", f"--workdir={tmp_path / 'run'}"]
    processes = start([["-m", "gcl_jax.main", *FLAGS, *flags, *joined, f"--process_id={i}"] for i in (0, 1)], 1)
    log = tmp_path / "run" / "metrics.jsonl"
    until = time.monotonic() + 200
    while not log.exists() and time.monotonic() < until:
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    found = ended(processes, 200)
    assert [status for status, _, _ in found] == [0, 0], found
    (step,) = [int(p.name) for p in (tmp_path / "run" / "representation" / "checkpoints").glob("[0-9]*")]
    assert f"stopped after step {step} of 72, which is saved; the same command goes on" in found[0][1]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert max(line["step"] for line in lines) <= step < 72
    assert f"resuming after step {step}" in finish(tmp_path / "run", 2, 1, flags)
    finish(tmp_path / "whole", 2, 1, flags)
    bitwise(tmp_path / "run", tmp_path / "whole", ("representation",))


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_death_ends_the_other(tmp_path, victim):
    command = {victim: ["tests/run_and_kill.py", "representation", "step", "13"]}
    found = run_main(tmp_path / "run", 2, 1, own=command, timeout=300)  # JAX misses a process after 100 s at most
    assert found[victim][0] == -signal.SIGKILL
    assert found[1 - victim][0] not in (0, None)
    assert "another process has ended" in found[1 - victim][2] or found[1 - victim][0] < 0
    assert not (tmp_path / "run" / "representation" / "DONE.json").exists()


DAMAGED_HERE = """
import runpy
from gcl_jax.checkpoints import integrity as damage
def verify(flat, note, folder, told=damage.verify):
    if folder.name == "10":
        raise damage.Damaged(folder, "seen here alone")
    told(flat, note, folder)
damage.verify = verify
runpy.run_module("gcl_jax.main", run_name="__main__")
"""


@pytest.mark.slow
def test_a_checkpoint_that_one_process_finds_damaged_is_set_aside_by_all(tmp_path):
    flags = override_flags(stages="('representation',)", checkpoint__keep=9)
    finish(tmp_path / "whole", 2, 1, flags)
    victim = {0: ["tests/run_and_kill.py", "representation", "save", "15"]}  # so 10 is complete
    run_main(tmp_path / "run", 2, 1, flags, own=victim, timeout=300)
    saved = tmp_path / "run" / "representation" / "checkpoints"
    assert max(int(p.name) for p in saved.glob("[0-9]*") if p.name.isdigit()) == 10
    script = tmp_path / "other.py"
    script.write_text(DAMAGED_HERE)
    said = finish(tmp_path / "run", 2, 1, flags, own={1: [str(script)]})
    assert "10 is damaged (seen here alone); it is now" in said
    assert "resuming after step 5" in said
    assert (tmp_path / "run" / "representation" / "damaged" / "10").is_dir()
    bitwise(tmp_path / "run", tmp_path / "whole", ("representation",))


@pytest.mark.slow
def test_checkpoints_go_from_two_processes_to_one_and_back(tmp_path):
    flags = override_flags(stages="('representation',)")
    finish(tmp_path / "whole", 1, 2, flags)
    layouts = {"from two": ((2, 1), (1, 2)), "from one": ((1, 2), (2, 1))}
    for name, (before, after) in layouts.items():
        victim = {before[0] - 1: ["tests/run_and_kill.py", "representation", "step", "13"]}
        killed = run_main(tmp_path / name, *before, flags, own=victim)
        assert killed[-1][0] == -signal.SIGKILL, killed[-1]
        assert "resuming after step" in finish(tmp_path / name, *after, flags)
        assert_same_run(tmp_path / name, tmp_path / "whole", ["representation"])
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / name).rglob("*.json*")}
        assert "finished already" in finish(tmp_path / name, 2, 1, flags)
        assert {p: p.stat().st_mtime_ns for p in (tmp_path / name).rglob("*.json*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("case", ["device", "host", "photographs", "seeds"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_layouts_are_equal(tmp_path, case, precision):
    """Parameters, statistics and predictions; each process read its own entries of each batch, and no others."""
    # Where an image is one color, nearly, all its pixels pass a ReLU's edge together, and 20 steps multiply rounding.
    photographs.four_classes(tmp_path / "photographs", noise=80)
    found = {}
    for layout, (processes, devices) in LAYOUTS.items():
        port, folder = free_port(), tmp_path / layout.replace(" ", "")
        command = ["tests/several_processes.py", precision, case, str(folder), f"localhost:{port}", str(processes)]
        for status, _, error in ended(start([[*command, str(i)] for i in range(processes)], devices), 2000):
            assert status == 0, error
        found[layout] = [
            (dict(np.load(folder / f"{i}.npz")), json.loads((folder / f"{i}.json").read_text()))
            for i in range(processes)
        ]
    ((expected, whole),) = found["1 x 4"]
    for layout in ("2 x 2", "4 x 1"):
        for arrays, _ in found[layout]:
            assert arrays.keys() == expected.keys()
            for name, value in expected.items():
                if name.endswith("label"):  # every image once, in order
                    np.testing.assert_array_equal(arrays[name], value)
                elif name.endswith(("predicted", "rank")):  # in float32 one may lie on an edge
                    assert np.mean(arrays[name] != value) <= (0 if precision == "float64" else 0.01), name
                else:
                    bound = 1e-9 if precision == "float64" else 1e-5 if " 1 " in name else 1e-3
                    assert relative_error(arrays[name], value) <= bound, name
        assert whole
        for stage, blocks in whole.items():
            assert blocks
            assert all(blocks)
            for i, block in enumerate(blocks):
                for stream, rows in block.items():
                    parts = [np.asarray(read[stage][i][stream]) for _, read in found[layout]]
                    rows = np.asarray(rows).reshape(len(rows), -1)
                    assert {part.shape[1] for part in parts} == {rows.shape[1] // len(parts)}
                    np.testing.assert_array_equal(np.sort(np.concatenate(parts, 1)), np.sort(rows))
