"""The scripts that start things: they parse, explain themselves and hand arguments on untouched."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from cloud import Cloud
from conftest import ROOT
from test_command_line import parse

SCRIPTS = [*sorted((ROOT / "launch").glob("*.s[hb]*")), ROOT / ".ci" / "run"]
PARTS = {"find_python.sh", "make_venv.sh", "saved.sh", "tpu_common.sh", "tpu_worker.sh"}  # what the others call
PAGE = (ROOT / "launch/README.md").read_text()
COMMANDS = [
    line.strip().partition("  # ")[0]
    for block in re.findall(r"\n\n((?:    .*\n)+)", PAGE)
    for line in block.splitlines()
    if "pip install" not in line
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck_finds_nothing(tmp_path):
    """In the scripts, and in the shell of a pod."""
    shellcheck = shutil.which("shellcheck", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    assert shellcheck, "shellcheck is missing: pip install -e '.[dev]'"
    pod = list(yaml.safe_load_all((ROOT / "launch/gke_job.yaml").read_text()))[1]["spec"]["template"]["spec"][
        "containers"
    ][0]
    (tmp_path / "pod.sh").write_text("#!/usr/bin/env bash\n" + pod["command"][2])
    done = subprocess.run(
        [shellcheck, "--external-sources", *map(str, SCRIPTS), str(tmp_path / "pod.sh")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_page_has_every_place():
    places = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert places[:7] == [
        "A laptop", "One GPU", "A grid", "A Cloud TPU VM", "A slice of a TPU pod", "SLURM", "Kubernetes",
    ]  # fmt: skip
    assert "Not yet run on a TPU, nor on a SLURM or a Kubernetes cluster" in PAGE
    assert "(launch/README.md)" in (ROOT / "README.md").read_text()
    scripts = {file.name for file in (ROOT / "launch").iterdir() if file.suffix in (".sh", ".py", ".sbatch")}
    assert len(scripts - PARTS) >= 6
    called = {word for line in COMMANDS for word in line.split() if word.startswith("launch/")}
    assert called == {f"launch/{name}" for name in scripts - PARTS}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_page_says_works_as_a_dry_run(tmp_path, monkeypatch, command):
    cloud = Cloud(tmp_path / "cloud")
    words = shlex.split(command)
    script = next(i for i, word in enumerate(words) if word.startswith("launch/"))
    words.insert(script + 1, "--dry-run")
    if words[0] == "python":
        words[0] = sys.executable
    if words[0] == "sbatch":  # runs the script with what follows it
        tasks = {name: int(n) for name, n in re.findall(r"--(nodes|ntasks-per-node)=(\d+)", command)}
        words = ["env", f"SLURM_NTASKS={tasks.get('nodes', 1) * tasks.get('ntasks-per-node', 1)}", *words[script:]]
    monkeypatch.chdir(ROOT)
    told = cloud.launch(*words)
    assert told.returncode == 0, told.stderr
    assert not cloud.calls()
    if words[-1] == "--delete":
        assert told.stdout == "gcloud compute tpus tpu-vm delete gcl --zone=us-west4-a --quiet\n"
        return
    config = next(word for word in words if word.startswith(("configs/", "--config=configs/")))
    assert f"--config={config.removeprefix('--config=')}" in told.stdout.replace("\\", "")  # %q of bash quotes a comma
    assert (ROOT / config.removeprefix("--config=").partition(":")[0]).is_file()
    overrides = [word for word in words if word.startswith("--config.")]
    parse(monkeypatch, f"--config={config.removeprefix('--config=')}", *overrides)
    several = "--processes=2" in words or "tpu_pod" in command or "--nodes=2" in command
    assert several == any(flag in told.stdout for flag in ("--distributed", "--num_processes=2"))


def test_local_explains_itself_and_refuses_too_few_arguments():
    local = ROOT / "launch" / "local.sh"
    told = subprocess.run([local, "--help"], capture_output=True, text=True)
    assert told.returncode == 0
    assert "launch/local.sh CONFIG WORKDIR" in told.stdout
    assert subprocess.run([local, "configs/digits_lt.py:gcl"], capture_output=True).returncode == 2


def test_local_hands_arguments_on(tmp_path):
    """From another folder, with spaces and quotes in them, to the virtual environment's Python."""
    (tmp_path / "launch").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "launch" / "local.sh").write_text((ROOT / "launch" / "local.sh").read_text())
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    arguments = ["configs/a.py:100", "my runs/one", "--config.stages=('a', 'b')"]
    done = subprocess.run(
        ["bash", tmp_path / "launch" / "local.sh", *arguments], capture_output=True, text=True, cwd="/"
    )
    assert done.stdout.splitlines() == [
        "-m", "gcl_jax.main", "--config=configs/a.py:100", "--workdir=my runs/one", "--config.stages=('a', 'b')",
    ]  # fmt: skip


def local_with(tmp_path, script):
    """local.sh beside a Python that is ``script``, in bash; it knows its number as $id."""
    (tmp_path / "launch").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "launch" / "local.sh").write_text((ROOT / "launch" / "local.sh").read_text())
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(
        f'#!/usr/bin/env bash\n[[ $1 != -c ]] || exec {sys.executable} "$@"\nid=${{@: -1}}; id=${{id#*=}}\n'
        f"cd {tmp_path}\nprintf '%s\\n' \"$@\" >told$id\n{script}\n"
    )
    python.chmod(0o755)
    return ["bash", str(tmp_path / "launch" / "local.sh"), "--processes=3", "a.py", "my runs", "--config.a=('b', $c)"]


def test_local_starts_several_processes_that_know_of_each_other(tmp_path):
    done = subprocess.run(local_with(tmp_path, ""), timeout=60)
    assert done.returncode == 0
    told = [(tmp_path / f"told{i}").read_text().splitlines() for i in range(3)]
    assert told[0][:5] == ["-m", "gcl_jax.main", "--config=a.py", "--workdir=my runs", "--config.a=('b', $c)"]
    assert re.fullmatch(r"--coordinator=127\.0\.0\.1:\d+", told[0][5])
    assert told[0][6] == "--num_processes=3"
    assert [one[:7] for one in told] == [told[0][:7]] * 3
    assert [one[7:] for one in told] == [[f"--process_id={i}"] for i in range(3)]


WAIT = "trap 'touch ended$id; exit 0' TERM INT; touch ready$id; while :; do sleep 0.1; done"


def test_local_ends_the_others_where_one_fails(tmp_path):
    script = f"if [[ $id == 1 ]]; then until [[ -e ready0 && -e ready2 ]]; do sleep 0.1; done; exit 7; fi; {WAIT}"
    done = subprocess.run(local_with(tmp_path, script), capture_output=True, text=True, timeout=60)
    assert done.returncode == 7
    assert "ended with status 7: the others are told to stop" in done.stderr
    assert (tmp_path / "ended0").exists()
    assert (tmp_path / "ended2").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_local_hands_a_signal_to_all(tmp_path, number):
    process = subprocess.Popen(local_with(tmp_path, WAIT), start_new_session=True)
    until = time.monotonic() + 60
    while not all((tmp_path / f"ready{i}").exists() for i in range(3)) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == 0
    assert all((tmp_path / f"ended{i}").exists() for i in range(3))


def test_local_hands_a_signal_on_that_comes_between_two_starts(tmp_path):
    started = tmp_path / "started"  # read by bash before local.sh: with its second process there, and not noted yet
    started.write_text(
        "early() { [[ $BASH_COMMAND == 'pids+='* && ${#pids[@]} == 1 ]] || return 0; trap - DEBUG\n"
        f"until [[ -e {tmp_path}/ready0 ]]; do sleep 0.1; done; kill -s TERM $$; }}\nset -T; trap early DEBUG\n"
    )
    done = subprocess.run(local_with(tmp_path, WAIT), env=os.environ | {"BASH_ENV": str(started)}, timeout=60)
    assert done.returncode in (0, 128 + signal.SIGTERM)  # the last may not have begun to answer signals
    assert (tmp_path / "ended0").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--processes=0", "a", "b"], "--processes is '0'"), (["--procs=2", "a", "b"], "--procs=2 is no option")],
)
def test_local_says_what_is_wrong(arguments, message):
    done = subprocess.run([ROOT / "launch/local.sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_find_python_passes_over_a_shim_that_does_not_run(tmp_path):
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho 'not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    good = tmp_path / "python3"
    good.write_text("#!/bin/sh\nexit 0\n")
    good.chmod(0o755)
    found = subprocess.run(
        [shutil.which("bash"), ROOT / "launch" / "find_python.sh"],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path)},
    )
    assert (found.returncode, found.stdout.strip()) == (0, str(good)), found.stderr
