"""Train on Kubernetes: python launch/gke.py --name=NAME --image=IMAGE CONFIG WORKDIR [--config.KEY=VALUE ...].

Fills in launch/gke_job.yaml and hands it to `kubectl apply`; --dry-run prints both instead. IMAGE has gcl_jax, its
configs in the working folder, and JAX for the accelerator. WORKDIR is gs://BUCKET/..., or a path on a volume that you
add to the file. A pod that is preempted is started again, and the run goes on from its last checkpoint. The other pods
then end with an error, which counts as a failure of theirs: hence --retries.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent / "gke_job.yaml"
PORT = 8476


def parser() -> argparse.ArgumentParser:
    """The options; what follows WORKDIR belongs to the run."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--name", required=True, help="of the job and its service")
    found.add_argument("--image", required=True)
    found.add_argument("--processes", type=int, default=1, help="pods, one process in each")
    found.add_argument("--retries", type=int, default=100, help="failures of pods until the job fails")
    found.add_argument("--limit", action="append", default=[], metavar="RESOURCE=NUMBER",
                       help="of a pod; by default nvidia.com/gpu=1")  # fmt: skip
    found.add_argument("--node", action="append", default=[], metavar="LABEL=VALUE", help="of the nodes that are used")
    found.add_argument("--dry-run", action="store_true")
    found.add_argument("config", metavar="CONFIG")
    found.add_argument("workdir", metavar="WORKDIR")
    found.add_argument("arguments", nargs=argparse.REMAINDER, metavar="--config.KEY=VALUE")
    return found


def filled(given: argparse.Namespace) -> str:
    """The job's YAML. Every value is JSON, which YAML contains: nothing in it is read as anything but text."""
    command = ["python", "-u", "-m", "gcl_jax.main", f"--config={given.config}", f"--workdir={given.workdir}"]
    several = []
    if given.processes > 1:  # by flags, so that the pods need neither Kubernetes' Python client nor rights to use it
        several = [f"--coordinator={given.name}-0.{given.name}:{PORT}", f"--num_processes={given.processes}"]
    # Kubernetes itself would replace $(NAME) in arguments; $$ stands for $.
    command = [part.replace("$", "$$") for part in [*command, *several, *given.arguments]]
    if several:
        command.append("--process_id=$(JOB_COMPLETION_INDEX)")
    evaluates = any(re.fullmatch("--?eval_only(=([Tt]rue|[Tt]|1))?", argument) for argument in given.arguments)
    result = "eval.json" if evaluates else "result.json"
    values = {
        "NAME": given.name,
        "IMAGE": given.image,
        "PROCESSES": given.processes,
        "RETRIES": given.retries,
        "LIMITS": dict(one.split("=", 1) for one in given.limit or ["nvidia.com/gpu=1"]),
        "NODES": dict(one.split("=", 1) for one in given.node),
        "RESULT": f"{given.workdir.rstrip('/')}/{result}".replace("$", "$$"),
        "COMMAND": command,
    }
    text = TEMPLATE.read_text()
    return re.sub(rf"\$({'|'.join(values)})\b", lambda m: json.dumps(values[m[1]]), text)


def main(argv: Sequence[str]) -> int:
    """Start the job, or print what would start it."""
    options = parser()
    given = options.parse_args(argv)
    if not re.fullmatch("[a-z]([-a-z0-9]{0,38}[a-z0-9])?", given.name):
        options.error(f"--name is {given.name!r}; it must be of a-z, 0-9 and -, begin with a letter, and be short")
    if given.processes < 1 or given.retries < 0:
        options.error("--processes must be at least 1, and --retries at least 0")
    for one in [*given.limit, *given.node]:
        if "=" not in one:
            options.error(f"{one!r} must be NAME=VALUE")
    text, command = filled(given), ["kubectl", "apply", "--filename=-"]
    if given.dry_run:
        print(f"# {shlex.join(command)} <<'END'\n{text}")
        return 0
    return subprocess.run(command, input=text, text=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
