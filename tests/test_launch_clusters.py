"""launch/slurm.sbatch against a stand-in for srun, and what launch/gke.py hands to Kubernetes, run as a pod would."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from conftest import ROOT

SLURM, GKE = ROOT / "launch/slurm.sbatch", ROOT / "launch/gke.py"
CONFIG = "configs/digits_lt/gcl.py"
NASTY = ["--config.stages=('a', \"b\")", "--config.name=$HOME $(id) `id`", "--config.a=\\; exit 3 &", "--config.b=", ""]
NOTE = "import json, sys; print(json.dumps(sys.argv[1:]))"


# SLURM.


class Cluster:
    """srun and scontrol on the PATH that note their arguments; srun then does ``what``, in bash, in the workdir."""

    def __init__(self, tmp_path, what="touch result.json"):
        self.root, self.workdir = tmp_path, tmp_path / "work dir"
        (tmp_path / "bin").mkdir()
        (tmp_path / "launch").mkdir()
        for name, then in {"srun": f"mkdir -p '{self.workdir}'; cd '{self.workdir}'; {what}", "scontrol": ":"}.items():
            text = f"#!/usr/bin/env bash\n{sys.executable} -S -c '{NOTE}' {name} \"$@\" >>'{tmp_path}/calls'\n{then}\n"
            (tmp_path / "bin" / name).write_text(text)
            (tmp_path / "bin" / name).chmod(0o755)

    def submit(self, *arguments, tasks=1):
        """Run the job as SLURM does: a copy of the script, from a folder of its own."""
        environment = os.environ | {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(self.root),
            "SLURM_JOB_ID": "17", "SLURM_NTASKS": str(tasks),
        }  # fmt: skip
        spooled = self.root / "slurm_script"
        spooled.write_text(SLURM.read_text())
        return subprocess.run(
            ["bash", str(spooled), *arguments], capture_output=True, text=True, env=environment, cwd="/", timeout=60
        )

    def calls(self):
        file = self.root / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_slurm_hands_arguments_on_and_ends_with_the_result(tmp_path):
    cluster = Cluster(tmp_path)
    done = cluster.submit(CONFIG, str(cluster.workdir), *NASTY)
    assert done.returncode == 0, done.stderr
    assert cluster.calls() == [[
        "srun", "--kill-on-bad-exit=1", "python3", "-u", "-m", "gcl_jax.main", f"--config={CONFIG}",
        f"--workdir={cluster.workdir}", *NASTY,
    ]]  # fmt: skip
    assert f"finished: {cluster.workdir}" in done.stdout


def test_slurm_with_several_tasks_lets_jax_find_them(tmp_path):
    cluster = Cluster(tmp_path)
    assert cluster.submit(CONFIG, str(cluster.workdir), "--config.seed=1", tasks=4).returncode == 0
    assert cluster.calls()[0][-2:] == ["--distributed", "--config.seed=1"]


@pytest.mark.parametrize(
    ("what", "before", "status", "again"),
    [
        ("date +%N >checkpoint", "", 0, True),  # preempted
        ("date +%N >checkpoint", "result.json", 0, True),  # preempted, with a result of fewer seeds
        (":", "result.json", 0, False),  # finished before
        (":", "", 1, False),  # nothing saved: it would go round for ever
        ("exit 7", "", 7, False),  # failed
    ],
)
def test_slurm_queues_again_what_was_preempted_and_nothing_else(tmp_path, what, before, status, again):
    cluster = Cluster(tmp_path, what)
    if before:
        cluster.workdir.mkdir()
        (cluster.workdir / before).write_text("old")
    done = cluster.submit(CONFIG, str(cluster.workdir))
    assert done.returncode == status
    assert cluster.calls()[1:] == ([["scontrol", "requeue", "17"]] if again else [])


def test_slurm_does_not_queue_an_evaluation_again(tmp_path):
    cluster = Cluster(tmp_path, "touch eval.json")
    assert cluster.submit(CONFIG, str(cluster.workdir), "--eval_only").returncode == 0
    assert len(cluster.calls()) == 1


def test_slurm_dry_run_prints_what_would_run(tmp_path):
    cluster = Cluster(tmp_path)
    told = cluster.submit("--dry-run", CONFIG, str(cluster.workdir), *NASTY)
    assert told.returncode == 0
    assert not cluster.calls()
    subprocess.run(
        ["bash", "-c", told.stdout.splitlines()[0]], env=os.environ | {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    )
    dry = cluster.calls()
    (tmp_path / "calls").unlink()
    cluster.submit(CONFIG, str(cluster.workdir), *NASTY)
    assert cluster.calls() == dry
    assert told.stdout.splitlines()[-1] == "scontrol requeue 17"
    assert "#SBATCH --signal=TERM@120\n" in SLURM.read_text()
    assert "#SBATCH --requeue\n" in SLURM.read_text()


# Kubernetes.


def gke(*arguments):
    return subprocess.run([sys.executable, str(GKE), *arguments], capture_output=True, text=True, timeout=60)


def job(*arguments):
    """The service and the job of a dry run."""
    told = gke("--name=gcl", "--image=img", "--dry-run", *arguments)
    assert told.returncode == 0, told.stderr
    return list(yaml.safe_load_all(told.stdout.partition("\n")[2]))


def expanded(text, index):
    """As Kubernetes reads an argument: $$ is $, and $(NAME) a variable."""
    return "$".join(part.replace("$(JOB_COMPLETION_INDEX)", str(index)) for part in text.split("$$"))


def test_the_job_is_indexed_and_its_pods_find_each_other():
    service, made = job("--processes=4", "--limit=nvidia.com/gpu=8", "--node=a/b=c", CONFIG, "gs://b/w", *NASTY)
    spec = made["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["backoffLimit"] == 100
    pod = spec["template"]["spec"]
    assert service["metadata"]["name"] == pod["subdomain"] == made["metadata"]["name"] == "gcl"
    assert service["spec"]["selector"] == {"job-name": "gcl"}
    container = pod["containers"][0]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "8"}}
    assert pod["nodeSelector"] == {"a/b": "c"}
    port = container["ports"][0]["containerPort"]
    assert [expanded(part, 3) for part in container["args"]] == [
        "python", "-u", "-m", "gcl_jax.main", f"--config={CONFIG}", "--workdir=gs://b/w",
        f"--coordinator=gcl-0.gcl:{port}", "--num_processes=4", *NASTY, "--process_id=3",
    ]  # fmt: skip
    alone = job(CONFIG, "gs://b/w")[1]["spec"]["template"]["spec"]["containers"][0]
    assert alone["args"][-1] == "--workdir=gs://b/w"
    assert alone["resources"] == {"limits": {"nvidia.com/gpu": "1"}}


def pod(tmp_path, what):
    """The process of a pod whose `python -m gcl_jax.main` does ``what``."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python"
    python.write_text(f'#!/usr/bin/env bash\n[[ $1 == -u ]] || exec {sys.executable} "$@"\n{what}\n')
    python.chmod(0o755)
    container = job(CONFIG, str(tmp_path))[1]["spec"]["template"]["spec"]["containers"][0]
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    environment |= {one["name"]: expanded(one["value"], 0) for one in container["env"]}
    command = [*container["command"], *(expanded(part, 0) for part in container["args"])]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(
    ("what", "status", "told"), [('touch "$WORKDIR/result.json"', 0, ""), (":", 1, "not finished"), ("exit 7", 7, "")]
)
def test_a_pod_is_completed_only_with_a_result(tmp_path, what, status, told):
    process = pod(tmp_path, what)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == status, error
    assert told in error


def test_a_pod_that_is_preempted_saves_and_is_not_completed(tmp_path):
    what = (
        """trap 'sleep 0.3; touch "$WORKDIR/saved"; exit 0' TERM; touch "$WORKDIR/ready"; while :; do sleep 0.1; done"""
    )
    process = pod(tmp_path, what)
    until = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # to the first process alone
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1, error
    assert "not finished" in error
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("given", [["--name=No Name"], ["--name=a", "--limit=gpu"], ["--name=a", "--processes=0"]])
def test_what_is_wrong_with_a_job_is_said(given):
    done = gke("--image=i", *given, CONFIG, "gs://b/w")
    assert done.returncode == 2
    assert "error: " in done.stderr


def test_kubectl_gets_the_job(tmp_path):
    stub = tmp_path / "kubectl"
    stub.write_text(f"#!/bin/sh\necho \"$@\" >'{tmp_path}/call'\ncat >'{tmp_path}/job'\nexit 4\n")
    stub.chmod(0o755)
    spec = importlib.util.spec_from_file_location("gke", GKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = ["--name=gcl", "--image=img", CONFIG, "gs://b/w"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert module.main(arguments) == 4
    assert (tmp_path / "call").read_text() == "apply --filename=-\n"
    assert list(yaml.safe_load_all((tmp_path / "job").read_text())) == job(CONFIG, "gs://b/w")
