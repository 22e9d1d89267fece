"""A stand-in for Google's cloud: `gcloud` on the PATH that records its calls, keeps state and fails as it is told to.

A machine's home is a folder, `--command` is run there by a shell as ssh's other end does, and a bucket is a folder too.
Run as a script it is gcloud; `Cloud` is what a test sets up and looks at.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

WORKDIR = "gs://bucket/work dir"
# What `uv venv` leaves on a machine: a Python that notes its arguments, does what comes next in the plan, and writes
# where the bucket is.
PYTHON = """#!/usr/bin/env bash
cloud={root}
"{python}" -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@" >>"$cloud/runs"
do=$(head -n 1 "$cloud/plan") && sed -i 1d "$cloud/plan"
echo "run: $do"
saving() { mkdir -p "$cloud/bucket/$1" && date +%N >"$cloud/bucket/$1/state"; }
case $do in
  finish) date +%N >"$cloud/bucket/result.json" ;;
  save) saving "representation/checkpoints/$(date +%s%N)" ;;
  start | stop) # what every start writes, and half a checkpoint; then a crash, or a signal
    for file in config.json .lock metrics.jsonl; do date +%N >"$cloud/bucket/$file"; done
    saving "representation/checkpoints/100.orbax-checkpoint-tmp"
    [[ $do == stop ]] || exit 134 ;;
  early) exit 143 ;;
  evaluate) date +%N >"$cloud/bucket/eval.json" ;;
  nothing) ;;
  slow) for _ in {1..300}; do [[ ! -e $cloud/seen ]] || break; sleep 0.1; done; date +%N >"$cloud/bucket/result.json" ;;
  fail) exit 1 ;;
  crash) exit 134 ;;
  preempt) saving "representation/checkpoints/$(date +%s%N)"; echo PREEMPTED >"$cloud/vm"; exit 1 ;;
esac
"""
UV = '#!/usr/bin/env bash\n[[ $1 != venv ]] || { mkdir -p venv/bin && cp "$(dirname "$0")/python" venv/bin/python; }\n'
ERRORS = {
    "capacity": "ERROR: (gcloud) There is no more capacity in the zone; code 8, RESOURCE_EXHAUSTED",
    "quota": "ERROR: (gcloud) Quota limit 'TPUV5sLitepodPerProjectPerZone' has been exceeded. Limit: 0 in zone z.",
    "permission": "ERROR: (gcloud) PERMISSION_DENIED: Permission 'tpu.nodes.create' denied",
    "internal": "ERROR: (gcloud) INTERNAL: try again",
}


class Cloud:
    """``plan``: what successive runs do (see `PYTHON`); ``failures``: {verb: what happens to its successive calls}."""

    def __init__(self, root: Path, plan=("finish",), failures=None, workers=1):
        self.root = root
        (root / "bin").mkdir(parents=True)
        (root / "bucket").mkdir()
        (root / "plan").write_text("".join(f"{step}\n" for step in plan))
        (root / "failures").write_text(json.dumps(failures or {}))
        (root / "workers").write_text(str(workers))
        stub = f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__).resolve()} {root} "$@"\n'
        for name, text in {"gcloud": stub, "python3": "#!/bin/sh\nexit 9\n"}.items():  # nothing is really installed
            (root / "bin" / name).write_text(text)
            (root / "bin" / name).chmod(0o755)

    def launch(self, script, *arguments, **options):
        """Run a script with this cloud's gcloud first on the PATH."""
        environment = os.environ | {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(
            [str(script), *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60, **options
        )

    def calls(self) -> list[list[str]]:
        """The arguments of every call of gcloud."""
        file = self.root / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def verbs(self) -> list[str]:
        """What every call asked for, without the looks at states and at the bucket."""
        return [verb for verb in map(_verb, self.calls()) if verb not in ("describe", "ls")]

    def runs(self) -> list[list[str]]:
        """The arguments of every Python that was started on a machine."""
        file = self.root / "runs"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _verb(arguments):
    return arguments[1] if arguments[0] == "storage" else arguments[3]


def _homes(root):
    return [root / f"worker{i}" for i in range(int((root / "workers").read_text()))]


def _gcloud(root: Path, arguments: list[str]) -> int:
    with (root / "calls").open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    verb, options = _verb(arguments), dict(a.split("=", 1) for a in arguments if a.startswith("--") and "=" in a)
    failures = json.loads((root / "failures").read_text())
    failure = failures[verb].pop(0) if failures.get(verb) else ""
    (root / "failures").write_text(json.dumps(failures))
    if failure in ERRORS:
        print("some lines before", ERRORS[failure], sep="\n", file=sys.stderr)
        return 1
    resources = arguments[:3] == ["compute", "tpus", "queued-resources"]
    thing = root / ("queue" if resources else "vm")
    if verb == "describe":
        if failure:
            thing.write_text(failure)
        if not thing.exists():
            print("ERROR: (gcloud) NOT_FOUND: Resource not found", file=sys.stderr)
            return 1
        wanted = options["--format"]
        print(thing.read_text().strip() if "Data" not in wanted else (root / "reason").read_text())
    elif verb == "create":
        assert not thing.exists()
        thing.write_text("ACTIVE" if resources else "READY")
        (root / "vm").write_text("READY")
        for home in _homes(root):
            tools = home / ".local" / "bin"
            tools.mkdir(parents=True)
            for name, text in {
                "uv": UV,
                "python": PYTHON.replace("{root}", str(root)).replace("{python}", sys.executable),
            }.items():
                (tools / name).write_text(text)
                (tools / name).chmod(0o755)
    elif verb == "delete":
        for file in (root / "queue", root / "vm"):
            file.unlink(missing_ok=True)
        for home in _homes(root):
            shutil.rmtree(home, ignore_errors=True)
    elif verb == "start":
        thing.write_text("READY")
    elif verb == "scp":
        for home in _homes(root) if options["--worker"] == "all" else _homes(root)[:1]:
            shutil.copy(arguments[4], home / "gcl_jax.tar.gz")
    elif verb == "ssh":
        homes = _homes(root) if options["--worker"] == "all" else _homes(root)[:1]
        started = [
            subprocess.Popen(
                ["bash", "-c", options["--command"]], cwd=home, env=os.environ | {"HOME": str(home)},
                stdout=subprocess.PIPE, text=True,
            )
            for home in homes
        ]  # fmt: skip
        for one in started:
            for line in one.stdout:
                print(line, end="", flush=True)
                if line.startswith("run:"):
                    if failure == "drop":
                        one.kill()
                        return 255
                    if not (root / "unseen").exists():
                        (root / "seen").touch()  # a slow run ends when somebody sees its log
        return int(any([one.wait() for one in started]))
    elif verb == "ls":
        found = sorted(path for path in (root / "bucket").rglob("*") if path.is_file())
        if not found:
            print("ERROR: (gcloud) One or more URLs matched no objects.", file=sys.stderr)
            return 1
        for file in found:
            print(
                f"{file.stat().st_size:>10}  {file.stat().st_mtime_ns}  {WORKDIR}/{file.relative_to(root / 'bucket')}"
            )
        print(f"TOTAL: {len(found)} objects")
    return 0


if __name__ == "__main__":
    sys.exit(_gcloud(Path(sys.argv[1]), sys.argv[2:]))
