"""make demo PYTHON=...: the environment is made with that interpreter, and nothing is installed into it."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

TARGETS = ["demo", "test", "test-all", "lint", "docs"]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")

# A Python that writes down what it is asked, says what version it is, and makes environments like itself.
PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$0.log"
case "$*" in
  *base_prefix*) echo "{prefix} {version}" ;;
  *version_info*) echo "{version}" ;;
  "-c import venv, ensurepip") exit {without_venv} ;;
  "-m venv "*) mkdir -p "$3/bin"; touch "$3/pyvenv.cfg"; cp "$0" "$3/bin/python" ;;
esac
"""


def interpreter(path, version="3.12", prefix="/opt/python", without_venv=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PYTHON.format(version=version, prefix=prefix, without_venv=without_venv))
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path):
    """The Makefile and what it calls, in a folder of its own."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "launch", root / "launch")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    return root


def make(project, *arguments):
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.run(
        ["make", *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=60
    )


def asked(python):
    return (python.parent / f"{python.name}.log").read_text().splitlines()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/python3", "python3.12"])
def test_a_dry_run_installs_into_the_environment_alone(project, target, python):
    done = make(project, "-n", target, f"PYTHON={python}", "VENV=env")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f'launch/make_venv.sh "env" "{python}"'
    assert any(" pip " in line for line in lines)
    assert not any(line.split()[0] == python for line in lines)
    assert all(line.split()[0] in ("env/bin/python", "touch") for line in lines[1:])


@pytest.mark.parametrize("name", ["python3.12", "my python", "python;true"])
def test_the_interpreter_makes_the_environment_and_nothing_else(project, tmp_path, name):
    python = interpreter(tmp_path / "opt" / name)
    done = make(project, "demo", f"PYTHON={python}", "VENV=env")
    assert done.returncode == 0, done.stderr
    assert asked(python)[-1] == "-m venv env"
    assert not [line for line in asked(python) if "pip " in line or "gcl_jax" in line or " install" in line]
    inside = asked(project / "env" / "bin" / "python")
    assert any(line.startswith("-m pip ") and line.endswith("install -qq --editable .") for line in inside)
    assert inside[-1].startswith("-m gcl_jax.main ")


def test_an_environment_that_is_there_stays(project, tmp_path):
    python = interpreter(tmp_path / "python")
    for _ in range(2):
        assert make(project, "demo", f"PYTHON={python}").returncode == 0
    assert asked(python).count("-m venv .venv") == 1
    assert sum(" install " in line for line in asked(project / ".venv" / "bin" / "python")) == 1
    assert make(project, "demo").returncode == 0  # without PYTHON, too


@pytest.mark.parametrize(("version", "prefix"), [("3.13", "/opt/python"), ("3.12", "/usr")])
def test_an_environment_of_another_interpreter_is_named(project, tmp_path, version, prefix):
    assert make(project, "demo", f"PYTHON={interpreter(tmp_path / 'first')}").returncode == 0
    other = interpreter(tmp_path / "other", version, prefix)
    done = make(project, "demo", f"PYTHON={other}")
    assert done.returncode
    told = (
        f"error: .venv was made with /opt/python 3.12, not with PYTHON={other} ({prefix} {version}): name another VENV"
    )
    assert done.stderr.startswith(told)
    assert make(project, "demo", f"PYTHON={other}", "VENV=env").returncode == 0


def test_a_folder_that_is_no_environment_is_left_alone(project, tmp_path):
    python = interpreter(tmp_path / "usr" / "bin" / "python")
    for more in ([], [f"PYTHON={python}"]):
        done = make(project, "demo", f"VENV={tmp_path / 'usr'}", *more)
        assert done.returncode
        assert re.match(r"error: VENV=.*/usr is no virtual environment: name a folder for a new one\n", done.stderr)
    assert not [line for line in asked(python) if "-m " in line]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(version="3.10"), "is Python 3.10; 3.11 or newer is needed"),
        (dict(version="2.7"), "is Python 2.7; 3.11 or newer is needed"),
        (dict(version="3.9"), "is Python 3.9; 3.11 or newer is needed"),
        (dict(version=""), "is Python ; 3.11 or newer is needed"),
        (
            dict(without_venv=1),
            "lacks venv or ensurepip: install them (Debian, Ubuntu: python3.12-venv), or name another",
        ),
    ],
)
def test_an_interpreter_that_will_not_do_is_named(project, tmp_path, options, told):
    python = interpreter(tmp_path / "python", **options)
    done = make(project, "demo", f"PYTHON={python}", "VENV=env")
    assert done.returncode
    assert [line for line in done.stderr.splitlines() if not line.startswith("make")] == [
        f"error: PYTHON={python} {told}"
    ]
    assert not (project / "env").exists()


@pytest.mark.parametrize(
    ("python", "told"), [("/nowhere/python", "there is no such program"), ("false", "does not run")]
)
def test_an_interpreter_that_is_none_is_named(project, python, told):
    done = make(project, "demo", f"PYTHON={python}", "VENV=env")
    assert done.returncode
    first, *rest = done.stderr.splitlines()
    assert first.startswith(f"error: PYTHON={python}")
    assert first.endswith(told)
    assert all(line.startswith("make") for line in rest)


def test_without_a_python_of_the_machine_one_is_asked_for(project, tmp_path):
    for name in ("bash", "dirname", "make", "env"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [shutil.which("bash"), "launch/make_venv.sh", "env"],
        cwd=project, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: no working Python 3.11 or newer (with venv) found; install one, or name it")
    assert done.stderr.count("\n") == 1
