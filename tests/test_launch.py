"""The scripts that start things: they parse, explain themselves and hand arguments on untouched."""

import subprocess

import pytest
from conftest import ROOT

SCRIPTS = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / ".ci" / "run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_local_explains_itself_and_refuses_too_few_arguments():
    local = ROOT / "launch" / "local.sh"
    told = subprocess.run([local, "--help"], capture_output=True, text=True)
    assert told.returncode == 0
    assert "launch/local.sh CONFIG WORKDIR" in told.stdout
    assert subprocess.run([local, "configs/digits_lt/gcl.py"], capture_output=True).returncode == 2


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


def test_find_python_passes_over_a_shim_that_does_not_run(tmp_path):
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho 'not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    found = subprocess.run(
        ["bash", ROOT / "launch" / "find_python.sh"], capture_output=True, text=True, env={"PATH": path}
    ).stdout.strip()
    assert found != str(shim)
