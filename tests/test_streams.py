"""What a command prints cannot end it: closed streams, pipes and disks, characters without an encoding."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import QUICK, ROOT
from tiny import override_flags

SPEAK = """
import sys
from gcl_jax.runtime import streams
streams.guard()
from tqdm import tqdm
from gcl_jax import errors
with errors.exit_on_user_error():
    for i in range(3000):
        tqdm.write(f"line {i} \\xfc \\u732b \\udcff", file=sys.stdout)
        print("also this", file=sys.stderr)
    with open(sys.argv[1], "w") as file:
        file.write("all of it")
    if "answer" in sys.argv:
        streams.require_written()
"""


def shell(tmp_path, redirection, *arguments, program=SPEAK, **environment):
    """Run ``program`` under a shell's ``redirection``; returns (status, stdout, stderr) and what its file holds."""
    file = tmp_path / "file"
    command = f'"$0" -c "$1" "$2" {" ".join(arguments)} {redirection}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, program, str(file)],
        cwd=ROOT, env=os.environ | environment, capture_output=True, timeout=60,
    )  # fmt: skip
    return done, file.read_text()


@pytest.mark.parametrize(
    "redirection",
    ["| head -1", "| true", ">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1 | true"],
)
def test_a_command_goes_on_without_its_output(tmp_path, redirection):
    done, written = shell(tmp_path, redirection)
    assert done.returncode == 0, done.stderr
    assert written == "all of it"  # and nothing that was printed: the file is not in a stream's place
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize(
    ("redirection", "status", "told"),
    [
        (">/dev/full", 1, b"error: standard output cannot be written (No space left on device)"),
        (">&-", 1, b"error: standard output cannot be written (Bad file descriptor)"),
        ("| head -1", 0, b""),
        ("2>/dev/full", 0, b""),
        (">/dev/null", 0, b""),
    ],
)
def test_a_command_whose_answer_is_its_output_says_what_is_missing(tmp_path, redirection, status, told):
    done, _ = shell(tmp_path, redirection, "answer")
    assert done.returncode == status
    assert told in done.stderr


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"PYTHONIOENCODING": "ascii"}, rb"line 2999 \xfc \u732b \udcff"),
        ({"PYTHONIOENCODING": "latin-1"}, b"line 2999 \xfc \\u732b \\udcff"),
        ({"PYTHONIOENCODING": "utf-8"}, "line 2999 ü 猫 \\udcff".encode()),
        ({"PYTHONIOENCODING": "ascii:strict", "PYTHONUNBUFFERED": "1"}, rb"line 2999 \xfc \u732b \udcff"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, rb"line 2999 \xfc \u732b \udcff"),
    ],
)
def test_every_name_can_be_printed(tmp_path, environment, line):
    done, _ = shell(tmp_path, "", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == line


STOPPED = """
import os, signal, sys
from gcl_jax.runtime import preemption, streams
streams.guard()
preemption.handle_signals_while_importing()
open(sys.argv[1], "w").write("begun")
os.kill(os.getpid(), signal.SIGHUP)
open(sys.argv[1], "w").write("went on")
"""


@pytest.mark.parametrize(
    ("redirection", "before", "written"),
    [("", "", "begun"), ("| true", "", "begun"), (">&-", "", "begun"), (">/dev/null", "trap '' HUP; ", "went on")],
)
def test_the_terminal_goes_away(tmp_path, redirection, before, written):
    """As SIGTERM, whatever becomes of the output; under nohup it goes on."""
    program = "import time; time.sleep(0.2)" + STOPPED
    command = f'{before}"$0" -c "$1" "$2" {redirection}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, program, str(tmp_path / "file")],
        cwd=ROOT, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == written


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["| head -3", ">&-", ">/dev/full 2>&-"])
def test_training_goes_on_without_its_output(tmp_path, redirection):
    flags = override_flags(stages="\"('representation',)\"", representation__epochs=1)
    command = [sys.executable, "-m", "gcl_jax.main", "--config=configs/digits_lt.py:gcl", *flags]
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(command)} --workdir={tmp_path / 'run'} {redirection}; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT, env=os.environ | QUICK, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "result.json").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_training_saves_when_the_terminal_goes_away(tmp_path):
    """SIGHUP, with nobody who reads any more."""
    flags = override_flags(representation__epochs=2000, eval__every_epochs=1)
    command = [sys.executable, "-m", "gcl_jax.main", "--config=configs/digits_lt.py:gcl", *flags]
    process = subprocess.Popen(
        [*command, f"--workdir={tmp_path / 'run'}"], cwd=ROOT, env=os.environ | QUICK,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not any(b"epoch 1 of" in line for line in process.stdout):
        pass
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 0
    assert list((tmp_path / "run" / "representation" / "checkpoints").glob("[0-9]*"))
