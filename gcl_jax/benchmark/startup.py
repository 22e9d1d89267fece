"""Whole commands, timed from outside: help, a typo, an import, and a tiny run without and with compiled programs."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gcl_jax.benchmark import harness, machine
from gcl_jax.errors import UserError

# One epoch of ten steps and one evaluation.
CONFIG = """
from gcl_jax import config as c


def get_config():
    stage = c.stage(c.method("gcl"), c.sampler("instance"), epochs=1, batch_size=30, optimizer=c.optimizer())
    data = dict(source="digits", name="digits", crop_padding=1, flip=False, mean=(0.3,), std=(0.37,))
    return c.experiment(stages=dict(representation=stage), data=data, model=dict(name="resnet8"))
"""
HELP, TYPO, IMPORT = "--help", "a config error", "import gcl_jax"
FIRST, SECOND = "a tiny run, compiling", "the same, compiled before"


def measure(rounds: int, say: Callable[[str], None]) -> dict:
    """The commands in turn, ``rounds`` times; the part of a report (see `report`) that is this subject's own."""
    times: dict[str, list[float]] = {name: [] for name in (HELP, TYPO, IMPORT, FIRST, SECOND)}
    compiling: dict[str, list[float]] = {FIRST: [], SECOND: []}
    busy = []
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        (room / "tiny.py").write_text(CONFIG)
        run = [sys.executable, "-m", "gcl_jax.main", f"--config={room / 'tiny.py'}"]
        for i in range(rounds):
            say(f"round {i + 1} of {rounds}")
            busy.append(machine.busy_cores())
            env = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
            env["XDG_CACHE_HOME"] = str(room / f"cache{i}")
            typo = [*run, "--config.representation.epoch=1", f"--workdir={room / 'none'}"]
            times[HELP].append(
                _timed([sys.executable, "-m", "gcl_jax.main", "--help"], env, statuses=(0, 1))[0]
            )  # absl: 1
            times[TYPO].append(_timed(typo, env, statuses=(1,))[0])
            times[IMPORT].append(_timed([sys.executable, "-c", "import gcl_jax"], env)[0])
            for name in (FIRST, SECOND):
                took, done = _timed([*run, f"--workdir={room / f'{name} {i}'}"], env)
                times[name].append(took)
                compiling[name].append(compile_seconds(done.stdout))
        say("looking at a run's imports")
        _, done = _timed([run[0], "-X", "importtime", *run[1:], f"--workdir={room / 'imports'}"], env)
    rows: dict[str, dict] = {
        name: {"seconds": harness.spread(took), "seconds_by_round": took} for name, took in times.items()
    }
    for name, compile_times in compiling.items():
        rows[name]["compile_seconds"] = harness.spread(compile_times)
    return {
        "title": "whole commands",
        "unit": "command",
        "accelerator": None,
        "busy_cores": busy,
        "rows": rows,
        "tensorflow_imported": imports("tensorflow", done.stderr),
        "notes": ["the tiny run: ResNet-8 on digits, 10 steps and one evaluation; compile time is the train step's"],
    }


def compile_seconds(text: str) -> float:
    """What a run says that its train steps took to compile.

    >>> compile_seconds("a: step compiled in 1.5 s, needs 2 MiB\\nb: step compiled in 0.2 s")
    1.7
    """
    return round(sum(map(float, re.findall(r"compiled in ([\d.]+) s", text))), 3)


def imports(package: str, import_times: str) -> bool:
    """Whether ``package`` is among what ``python -X importtime`` tells.

    >>> imports("tensorflow", "import time:  10 |  20 |   tensorflow.python"), imports("tensorflow", "")
    (True, False)
    """
    return bool(re.search(rf"\|\s+{re.escape(package)}(\.|$)", import_times, re.MULTILINE))


def _timed(
    command: Sequence[str], env: Mapping[str, str], statuses: Sequence[int] = (0,)
) -> tuple[float, subprocess.CompletedProcess]:
    began = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    took = time.perf_counter() - began
    if done.returncode not in statuses:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise UserError(f"{' '.join(command)} ended with exit status {done.returncode}: {words[-1]}")
    return took, done
