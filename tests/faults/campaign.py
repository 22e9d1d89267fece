"""Disturb a run at random moments until it ends, again and again, and compare with a run that nobody disturbed.

    python tests/faults/campaign.py --kills=100 --processes=2 --folder=DIR -- --config=configs/digits_lt.py:gcl ...

What follows ``--`` are gcl_jax.main's own flags, without a workdir. Three of four disturbances are kill -9 of one
process, the others SIGTERM to one; each comes at a random moment after the step has been compiled. A process that was
not hit has to end by itself within a bounded time. Prints how many there were and what differed; status 1 if anything.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from same_run import assert_same_run  # noqa: E402

BOUND = 150  # seconds within which all of a run end once one is hit: JAX's heartbeat takes 100
PATIENCE = 900  # seconds for a whole run


@dataclasses.dataclass
class Tally:
    """What was done, and what came of it."""

    runs: int = 0
    kills: int = 0
    terms: int = 0
    differences: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        hits = f"{self.kills} kills (-9), {self.terms} SIGTERM, as many restarts, over {self.runs} runs"
        return f"{hits}; differences: {len(self.differences)}" + "".join(f"\n  {d}" for d in self.differences)


class Group:
    """The processes of one start of a run; what they say goes to a file each."""

    def __init__(self, flags: Sequence[str], workdir: pathlib.Path, processes: int):
        with socket.socket() as opened:
            opened.bind(("localhost", 0))
            port = opened.getsockname()[1]
        self._said = [workdir.parent / f"{workdir.name}_{i}.txt" for i in range(processes)]
        self.processes = []
        cache = workdir.parent / "compiled"  # of all starts of a campaign
        own = {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": str(cache)}
        for i, said in enumerate(self._said):
            joined = [f"--coordinator=localhost:{port}", f"--num_processes={processes}", f"--process_id={i}"]
            command = [*flags, f"--workdir={workdir}", *(joined if processes > 1 else [])]
            with said.open("w") as file:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "gcl_jax.main", *command],
                        cwd=ROOT,
                        env=os.environ | own,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )

    def text(self) -> str:
        """All that was said."""
        return "\n".join(said.read_text() for said in self._said)

    def wait(self, seconds: float, until: str = "") -> bool:
        """Whether all ended within so many seconds; False at once where the first says ``until``."""
        end = time.monotonic() + seconds
        while any(process.poll() is None for process in self.processes):
            if time.monotonic() > end or (until and until in self._said[0].read_text()):
                return False
            time.sleep(0.01)
        return True

    def statuses(self) -> list[int]:
        """Exit statuses, of processes that ended."""
        return [process.returncode for process in self.processes]

    def stop(self) -> None:
        """Leave none running."""
        for process in self.processes:
            process.kill()
            process.wait()


def whole(flags: Sequence[str], workdir: pathlib.Path, processes: int) -> float:
    """An undisturbed run; returns the seconds that it took from its first logged step on."""
    group = Group(flags, workdir, processes)
    try:
        while not (workdir / "metrics.jsonl").exists() and not group.wait(0.01):
            pass
        began = time.monotonic()
        if not group.wait(PATIENCE) or any(group.statuses()):
            raise RuntimeError(f"the undisturbed run failed: {group.text()}")
        return time.monotonic() - began
    finally:
        group.stop()


def disturbed(
    flags: Sequence[str],
    workdir: pathlib.Path,
    processes: int,
    *,
    span: float,
    most: int,
    generator: np.random.Generator,
    tally: Tally,
) -> None:
    """One run to its end, hit at most ``most`` times, each within ``span`` seconds; counted in ``metric_sums``."""
    hits = 0
    while True:
        group = Group(flags, workdir, processes)
        try:
            if hits < most and not group.wait(PATIENCE, until="step compiled") and not group.wait(
                generator.uniform(0, span)
            ):  # fmt: skip
                number = signal.SIGTERM if generator.random() < 0.25 else signal.SIGKILL
                victim = group.processes[generator.integers(processes)]
                if victim.poll() is None:
                    victim.send_signal(number)
                    hits += 1
                    tally.terms += number == signal.SIGTERM
                    tally.kills += number == signal.SIGKILL
                if not group.wait(BOUND):
                    raise RuntimeError(f"{number.name}: a process still runs after {BOUND} s: {group.text()}")
                if number == signal.SIGTERM and any(group.statuses()):
                    raise RuntimeError(f"SIGTERM: exit statuses {group.statuses()}: {group.text()}")
                continue
            if not group.wait(PATIENCE) or any(group.statuses()):
                raise RuntimeError(f"exit statuses {group.statuses()}: {group.text()}")
            tally.runs += 1
            return
        finally:
            group.stop()


def campaign(
    flags: Sequence[str],
    folder: pathlib.Path,
    *,
    processes: int = 1,
    least: int = 100,
    most_a_run: int = 25,
    seed: int = 0,
) -> Tally:
    """Disturb runs until there were ``least`` disturbances, and compare each run with an undisturbed one."""
    generator, tally = np.random.default_rng(seed), Tally()
    span = whole(flags, folder / "undisturbed", processes)
    while tally.kills + tally.terms < least:
        workdir = folder / f"run_{tally.runs}"
        left = least - tally.kills - tally.terms
        disturbed(
            flags, workdir, processes, span=span, most=min(most_a_run, left), generator=generator, tally=tally
        )  # fmt: skip
        try:
            assert_same_run(workdir, folder / "undisturbed")
        except AssertionError as error:
            tally.differences.append(f"{workdir}: {str(error).strip()[:500]}")
        else:
            shutil.rmtree(workdir)
        print(tally, flush=True)
    return tally


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="an empty one, for the runs")
    parser.add_argument("flags", nargs="+")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    tally = campaign(given.flags, given.folder.resolve(), processes=given.processes, least=given.kills, seed=given.seed)
    print(f"seed {given.seed}, {given.processes} processes: {tally}")
    sys.exit(bool(tally.differences))


if __name__ == "__main__":
    main()
