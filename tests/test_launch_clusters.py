"""launch/slurm.sbatch against a stand-in for srun, and what launch/gke.py hands to Kubernetes, run as a pod would."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from conftest import ROOT

SLURM, GKE = ROOT / "launch/slurm.sbatch", ROOT / "launch/gke.py"
CONFIG = "configs/digits_lt.py:gcl"
NASTY = ["--config.stages=('a', \"b\")", "--config.name=$HOME $(id) `id`", "--config.a=\\; exit 3 &", "--config.b=", ""]
NOTE = "import json, sys; print(json.dumps(sys.argv[1:]))"


# SLURM.


class Cluster:
    """srun and scontrol on the PATH that note their arguments; srun then does ``what``, in bash, in the workdir."""

    def __init__(self, tmp_path, what="touch result.json"):
        self.root, self.workdir = tmp_path, tmp_path / "work dir"
        (tmp_path / "bin").mkdir()
        shutil.copytree(ROOT / "launch", tmp_path / "launch")
        for name, then in {"srun": f"mkdir -p '{self.workdir}'; cd '{self.workdir}'; {what}", "scontrol": ":"}.items():
            text = f"#!/usr/bin/env bash\n{sys.executable} -S -c '{NOTE}' {name} \"$@\" >>'{tmp_path}/calls'\n{then}\n"
            (tmp_path / "bin" / name).write_text(text)
            (tmp_path / "bin" / name).chmod(0o755)

    def submit(self, *arguments, tasks=1, **slurm):
        """Run the job as SLURM does: a copy of the script, from a folder of its own."""
        environment = os.environ | {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(self.root),
            "SLURM_JOB_ID": "17", "SLURM_NTASKS": str(tasks), **slurm,
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


SAVE = "mkdir -p representation/checkpoints/7; date +%N >representation/checkpoints/7/state"
START = "for file in config.json .lock metrics.jsonl; do date +%N >$file; done"  # what every start writes
OTHERS = "echo 'srun: error: n1: task 1: Terminated' >&2"


@pytest.mark.parametrize(
    ("what", "before", "status", "again"),
    [
        (SAVE, [], 0, True),  # preempted
        (SAVE, ["result.json", "seed_0/result.json"], 0, True),  # preempted, with a result of fewer seeds
        (START, ["result.json", "seed_0/result.json"], 1, False),  # the same, before anything was saved
        ("touch result.json", ["result.json", "seed_0/result.json"], 0, False),  # finished
        (":", ["result.json"], 0, False),  # finished before, of one seed
        (":", [], 1, False),  # nothing saved: it would go round for ever
        (START, [], 1, False),
        ("exit 7", [], 7, False),  # failed
        (f"{SAVE}; exit 7", [], 7, False),
        ("exit 143", [], 0, True),  # a signal in Python's first second
        ("exit 130", [], 0, True),
        (f"{OTHERS}; exit 143", [], 0, True),
        (f"{OTHERS}; echo 'srun: error: n0: task 0: Exited with exit code 1' >&2; exit 143", [], 143, False),
        (f"{OTHERS}; echo 'srun: error: n[0,2]: tasks 0,2: Out Of Memory' >&2; exit 143", [], 143, False),
    ],
)
def test_slurm_queues_again_what_was_preempted_and_nothing_else(tmp_path, what, before, status, again):
    cluster = Cluster(tmp_path, what)
    for file in before:
        (cluster.workdir / file).parent.mkdir(parents=True, exist_ok=True)
        (cluster.workdir / file).write_text("old")
    done = cluster.submit(CONFIG, str(cluster.workdir))
    assert done.returncode == status, done.stderr
    assert cluster.calls()[1:] == ([["scontrol", "requeue", "17"]] if again else [])


def test_slurm_looks_into_a_workdir_that_is_a_link(tmp_path):
    cluster = Cluster(tmp_path, SAVE)
    (tmp_path / "elsewhere").mkdir()
    cluster.workdir.symlink_to(tmp_path / "elsewhere")
    assert cluster.submit(CONFIG, str(cluster.workdir)).returncode == 0
    assert cluster.calls()[1:] == [["scontrol", "requeue", "17"]]


@pytest.mark.parametrize(("what", "status"), [("touch eval.json", 0), (":", 1), (START, 1)])
def test_slurm_takes_an_evaluation_for_finished_when_it_has_written_what_it_found(tmp_path, what, status):
    cluster = Cluster(tmp_path, what)
    cluster.workdir.mkdir()
    for file in ("result.json", "eval.json"):
        (cluster.workdir / file).write_text("old")
    done = cluster.submit(CONFIG, str(cluster.workdir), "--eval_only")
    assert done.returncode == status
    assert ("finished: " in done.stdout) == (status == 0)
    assert len(cluster.calls()) == 1  # what saves nothing would go round for ever


def test_slurm_hands_the_cores_of_a_task_on(tmp_path):
    """From 22.05 on srun does not take them over by itself."""
    cluster = Cluster(tmp_path, 'echo "${SRUN_CPUS_PER_TASK-none}" >result.json')
    cluster.submit(CONFIG, str(cluster.workdir), SLURM_CPUS_PER_TASK="12")
    assert (cluster.workdir / "result.json").read_text() == "12\n"
    cluster.submit(CONFIG, str(cluster.workdir), SLURM_CPUS_PER_TASK="")
    assert (cluster.workdir / "result.json").read_text() == "none\n"


@pytest.mark.parametrize(
    ("tasks", "slurm", "refused"),
    [
        (2, {"SLURM_TASKS_PER_NODE": "1(x2)", "SLURM_GPUS_ON_NODE": "4"}, True),
        (2, {"SLURM_NTASKS_PER_NODE": "1", "SLURM_GPUS_PER_NODE": "a100:4"}, True),
        (4, {"SLURM_TASKS_PER_NODE": "2(x2)", "SLURM_GPUS_ON_NODE": "4"}, True),
        (8, {"SLURM_TASKS_PER_NODE": "4(x2)", "SLURM_GPUS_ON_NODE": "4"}, False),
        (1, {"SLURM_TASKS_PER_NODE": "1", "SLURM_GPUS_ON_NODE": "4"}, False),  # one process uses all
        (2, {"SLURM_TASKS_PER_NODE": "1(x2)"}, False),
    ],
)
def test_slurm_refuses_to_leave_gpus_idle(tmp_path, tasks, slurm, refused):
    cluster = Cluster(tmp_path)
    done = cluster.submit(CONFIG, str(cluster.workdir), tasks=tasks, **slurm)
    assert done.returncode == (2 if refused else 0), done.stderr
    assert bool(cluster.calls()) != refused
    assert ("give as many tasks, --ntasks-per-node=4 --gpus-per-node=4" in done.stderr) == refused


def test_slurm_says_where_it_has_to_be_submitted(tmp_path):
    done = Cluster(tmp_path).submit(CONFIG, "runs/a", SLURM_SUBMIT_DIR="/")
    assert done.returncode == 2
    assert done.stderr == "error: / is not the repository's folder: give this command from there\n"


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


def pod(tmp_path, what, *arguments, look=":"):
    """The process of a pod whose `python -m gcl_jax.main` does ``what``, and whose `python -c` begins with ``look``."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python"
    python.write_text(
        f'#!/usr/bin/env bash\ncd "{tmp_path}/work dir"\n'
        f'[[ $1 == -u ]] || {{ {look}; exec {sys.executable} "$@"; }}\n{what}\n'
    )
    python.chmod(0o755)
    (tmp_path / "work dir").mkdir(exist_ok=True)
    made = job(CONFIG, str(tmp_path / "work dir"), *arguments)[1]
    container = made["spec"]["template"]["spec"]["containers"][0]
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    environment |= {one["name"]: expanded(one["value"], 0) for one in container["env"]}
    command = [*container["command"], *(expanded(part, 0) for part in container["args"])]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(
    ("what", "before", "arguments", "status"),
    [
        ("touch result.json", [], [], 0),
        (":", [], [], 1),  # preempted
        ("exit 7", [], [], 7),
        ("exit 143", [], [], 143),  # a signal in Python's first second: a failure too
        (":", ["result.json"], [], 0),  # finished before, of one seed
        ("mkdir seed_1", ["result.json", "seed_0/result.json"], [], 1),  # preempted, with a result of fewer seeds
        ("touch result.json", ["result.json", "seed_0/result.json"], [], 0),
        (":", ["result.json", "eval.json"], ["--eval_only"], 1),
        ("touch eval.json", ["result.json", "eval.json"], ["--eval_only"], 0),
        ("touch eval.json", [], ["--config.seed=1", "--eval_only=true"], 0),
    ],
)
def test_a_pod_is_completed_only_with_a_result(tmp_path, what, before, arguments, status):
    for file in before:
        (tmp_path / "work dir" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work dir" / file).touch()
        os.utime(tmp_path / "work dir" / file, (1e9, 1e9))
    process = pod(tmp_path, what, *arguments)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == status, error
    assert ("not finished" in error) == (status == 1)


def test_a_pod_that_is_preempted_saves_and_is_not_completed(tmp_path):
    process = pod(tmp_path, "trap 'sleep 0.3; touch saved; exit 0' TERM; touch ready; while :; do sleep 0.1; done")
    until = time.monotonic() + 30
    while not (tmp_path / "work dir/ready").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # to the first process alone
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1, error
    assert "not finished" in error
    assert (tmp_path / "work dir/saved").exists()


def test_a_pod_that_is_told_to_stop_before_the_run_begins_stops(tmp_path):
    process = pod(tmp_path, "exec sleep 50", look="touch looking; sleep 0.3")
    until = time.monotonic() + 30
    while not (tmp_path / "work dir/looking").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


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
