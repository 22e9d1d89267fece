"""One run a point of a grid: python launch/sweep.py --config=CONFIG --workdir=DIR --grid=KEY=VALUE,VALUE ... [--run].

Prints the commands, for a shell or a queue of your own, to be given in this same folder (relative paths begin there);
--run runs them here, one after the other. Every --grid=KEY=... is an axis, KEY as in --config.KEY=VALUE; every
--config.KEY=VALUE goes to all points. The values of an axis are separated by commas outside of brackets and quotes:
--grid=data.mean='(0.5,),(0.4,)' are two. A point's workdir is DIR/KEY=VALUE,KEY=VALUE; what is in it already goes on,
and is not done again when finished. All points are checked before any is started.

With --run a point that fails ends the sweep with its exit status; with --keep-going the others are run all the same,
and the exit status is 1 if any failed. A signal that stops a point ends the sweep with status 0: the same command goes
on.
"""

import argparse
import itertools
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # not installed is as good

from etils import epath  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from gcl_jax import command_line  # noqa: E402
from gcl_jax.config import validation  # noqa: E402
from gcl_jax.errors import UserError, cut, exit_on_user_error, shown  # noqa: E402

MOST_POINTS = 10_000
CLOSES = {"(": ")", "[": "]", "{": "}"}
LONGEST = 200  # bytes of a folder's name; file systems take 255
# Of a run that is signaled in Python's first second, or interrupted twice.
SIGNALED = [status for number in (signal.SIGTERM, signal.SIGINT) for status in (-number, 128 + number)]


@exit_on_user_error()
def main(argv: Sequence[str]) -> None:
    """Print or run the sweep; a UserError becomes one line and exit status 1."""
    given, rest = _parse(argv)
    runs = points(given.config, given.workdir, given.grid, rest)
    if not given.run:
        for _, command in runs:
            print(shlex.join(["env", f"PYTHONPATH={_python_path()}", *command]))
        return
    sys.exit(run(runs, keep_going=given.keep_going))


def values(text: str) -> list[str]:
    """The values of an axis: parts of ``text`` between commas outside of brackets and quotes; "" where one is empty.

    Raises UserError for a bracket or a quote that is not closed.

    >>> values("(0.1, 0.2),(0.3,),'a,b'")
    ['(0.1, 0.2)', '(0.3,)', "'a,b'"]
    """
    found, open_, quote = [""], [], ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in CLOSES:
            open_.append(CLOSES[letter])
        elif open_ and letter == open_[-1]:
            open_.pop()
        elif letter == "," and not open_:
            found.append("")
            continue
        found[-1] += letter
    if open_ or quote:
        raise UserError(f"--grid: {shown(text)} lacks a {quote or open_[-1]}")
    return [value.strip() for value in found]


def axes(grid: Sequence[str]) -> dict[str, list[str]]:
    """{key: its values} of every --grid; UserError for one that is empty, has an empty value, or is there twice."""
    found = {}
    for axis in grid:
        key, given, text = axis.partition("=")
        if not key or not given or not text.strip():
            raise UserError(f"--grid={cut(axis)}: write --grid=KEY=VALUE,VALUE with KEY as in --config.KEY=VALUE")
        if key in found:
            raise UserError(f"--grid={cut(axis)}: {cut(key)} is an axis already; give all its values in one --grid")
        found[key] = values(text)
        if "" in found[key]:
            raise UserError(f"--grid={cut(axis)}: a value is empty; write one on both sides of every comma")
    if (size := math.prod(map(len, found.values()))) > MOST_POINTS:
        raise UserError(f"--grid: {size:,} points are more than {MOST_POINTS:,}; take fewer axes or values")
    return found


def points(config: str, workdir: str, grid: Sequence[str], rest: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(workdir, command) of every point, all of them checked as main checks them; the last axis moves fastest.

    Raises UserError for what is wrong with the grid, or with the command of a point, and where two points are one.
    """
    every = axes(grid)
    for argument in rest:
        key = re.sub(r"^--(no)?config\.", "", argument).partition("=")[0]
        if key in every:
            raise UserError(f"{cut(argument)}: {key} is an axis of the grid; give its values there")
    runs, same = {}, {}
    for point in itertools.product(*([(key, value) for value in found] for key, found in every.items())):
        name = ",".join(f"{key}={re.sub('[^-+.A-Za-z0-9_()]+', '_', value)}" for key, value in point)
        folder = f"{workdir.rstrip('/')}/{name}"
        if folder in runs:
            raise UserError(f"--grid: two points would share the workdir {folder}; give each key and value once")
        if len(name) > LONGEST:
            raise UserError(f"--grid: the workdir {cut(folder)} would have too long a name; take fewer axes")
        arguments = [f"--config={config}", *rest, *(f"--config.{key}={value}" for key, value in point)]
        other = same.setdefault(json.dumps(plain(check(arguments).to_dict()), sort_keys=True), name)
        if other != name:
            raise UserError(f"--grid: {other} and {name} are one point, written twice; leave one out")
        runs[folder] = [sys.executable, "-m", "gcl_jax.main", *arguments, f"--workdir={folder}"]
    return list(runs.items())


def check(arguments: Sequence[str]) -> ConfigDict:
    """The config of these arguments, or the UserError with which main would answer them."""
    config = command_line.config_of(["gcl_jax.main", *arguments])
    validation.validate(config)
    return config


def plain(value: object) -> object:
    """``value`` of a config so that equal ones are written alike: -0.0 as 0.0, a/ and ./a as a, a list as a tuple.

    >>> plain({"path": "./a/", "grid": (-0.0, 1)}) == plain({"path": "a/.", "grid": [0.0, 1.0]})
    True
    """
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, str) and "/" in value:
        return os.path.normpath(os.path.expanduser(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) + 0.0 if abs(value) < 2**53 else value
    return value


def run(runs: Sequence[tuple[str, list[str]]], *, keep_going: bool) -> int:
    """Run every command in turn; returns the exit status of the sweep."""
    environment = os.environ | {"PYTHONPATH": _python_path()}
    failed, stopped, child = [], [], None

    def hand_on(number, frame):
        stopped.append(number)
        if child is not None:
            child.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, hand_on)
    for i, (folder, command) in enumerate(runs, 1):
        print(f"== {i} of {len(runs)}: {folder}", flush=True)
        before = _written(folder)
        # A process group of its own: a Ctrl-C then reaches the run once, through this process.
        child = subprocess.Popen(command, env=environment, process_group=0)
        if stopped:  # while there was no child to hand it on to
            child.send_signal(signal.SIGTERM)
        status = child.wait()
        signaled = status in SIGNALED
        if stopped or signaled or not (status or _finished(folder, before)):
            print("== stopped; the same command goes on", flush=True)
            return 0 if signaled else _shells(status)
        if status:
            failed.append(folder)
            print(f"== failed with status {status}: {folder}", file=sys.stderr, flush=True)
            if not keep_going:
                return _shells(status)
    print(f"== {len(runs) - len(failed)} of {len(runs)} finished", flush=True)
    return 1 if failed else 0


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])])


def _written(folder: str) -> float | None:
    """When the result of the run in ``folder`` was written, if there is one."""
    file = epath.Path(folder) / "result.json"
    return file.stat().mtime if file.exists() else None


def _finished(folder: str, before: float | None) -> bool:
    """Whether a run that ended with status 0 is finished, whose result was `_written` ``before`` it began.

    One that was preempted saves and ends so too, but writes no result: it has to be new, since an older one may be of
    fewer seeds. That of a single seed may be old: it is there only when all is done, and stays as it is.
    """
    now = _written(folder)
    if now is None or now != before:
        return now is not None
    return not any(path.name.startswith("seed_") for path in epath.Path(folder).iterdir())


def _shells(status: int) -> int:
    """An exit status as a shell has it: 128 and the number of the signal, which Python has below 0."""
    return status if status >= 0 else 128 - status


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = command_line.Parser(__doc__)
    parser.add_argument("--config", required=True, metavar="CONFIG")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="the folder of all points")
    parser.add_argument("--grid", action="append", required=True, metavar="KEY=VALUE,VALUE")
    parser.add_argument("--run", action="store_true", help="run the commands instead of printing them")
    parser.add_argument("--dry-run", action="store_true", help="print the commands: the default")
    parser.add_argument("--keep-going", action="store_true", help="run the other points where one fails")
    given, rest = parser.parse_known_args(argv)
    if given.run and given.dry_run:
        raise UserError("--run and --dry-run exclude each other")
    if not given.workdir:
        raise UserError("--workdir is empty; name a folder for the runs")
    given.workdir = os.path.expanduser(given.workdir)
    for argument in rest:
        if not re.match(r"--(no)?config\.[^=]+(=|$)", argument):
            raise UserError(f"{shown(argument)} is no argument of this command: see --help")
    return given, rest


if __name__ == "__main__":
    main(sys.argv[1:])
