"""launch/tpu_vm.sh and tpu_pod.sh against a stand-in for gcloud: what they ask for, and what they do about failures."""

import os
import shlex
import signal
import subprocess

import pytest
from cloud import WORKDIR, Cloud
from conftest import ROOT

VM, POD = ROOT / "launch/tpu_vm.sh", ROOT / "launch/tpu_pod.sh"
WHERE = ("--name=mine", "--zone=z", "--wait=0")
RUN = ("configs/digits_lt.py:gcl", WORKDIR)
NASTY = [
    "--config.stages=('a', \"b\")", "--config.name=$HOME `id` $(id)", "--config.a=back\\slash; exit 3 &", "--config.b=",
    "--config.c=*  two  spaces", "--config.d=line\nbreak", "--config.e=!x\t#", "",
]  # fmt: skip


def run_arguments(*rest):
    return ["-u", "-m", "gcl_jax.main", f"--config={RUN[0]}", f"--workdir={WORKDIR}", *rest]


@pytest.mark.parametrize(("script", "workers", "flags"), [(VM, 1, []), (POD, 2, ["--distributed"])])
def test_a_run_is_started_on_every_worker_with_its_arguments_as_they_are(tmp_path, script, workers, flags):
    cloud = Cloud(tmp_path / "cloud", ["finish"] * workers, workers=workers)
    done = cloud.launch(script, *WHERE, *RUN, *NASTY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert cloud.verbs() == ["create", "scp", "ssh"]
    assert cloud.runs() == [run_arguments(*flags, *NASTY)] * workers
    assert done.stdout.count("run: finish") == workers
    assert f"== finished: {WORKDIR}" in done.stderr
    assert f"mine still exists and costs: {script} --name=mine --zone=z --delete" in done.stderr
    home = cloud.root / f"worker{workers - 1}" / "gcl_jax"
    assert (home / "gcl_jax/main.py").read_text() == (ROOT / "gcl_jax/main.py").read_text()


@pytest.mark.parametrize("script", [VM, POD])
def test_a_dry_run_prints_the_calls_and_makes_none(tmp_path, script):
    given = ("--name=mine", "--zone=z", "--spot", "--project=p", "--type=v6e-8", "--delete")
    dry = Cloud(tmp_path / "dry")
    told = dry.launch(script, *given, "--dry-run", *RUN, *NASTY)
    assert told.returncode == 0, told.stderr
    assert not dry.calls()
    cloud = Cloud(tmp_path / "cloud")
    assert cloud.launch(script, *given, *RUN, *NASTY).returncode == 0
    lines = [line for line in _commands(told.stdout) if line[0] == "gcloud"]
    made = [call for call in cloud.calls() if call[3] != "describe"][1:]  # the first is a look at the bucket
    assert _unique(lines) == _unique([["gcloud", *call] for call in made])
    assert "--version=v2-alpha-tpuv6e" in lines[0]


def _commands(text):
    """The commands of a dry run, as a shell reads them (a line break within an argument is one of bash's $'..')."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    script = "".join(f"printf '%s\\0' {line}; printf '\\1\\0'\n" for line in lines)
    words = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    found = [[]]
    for word in words:
        found.append([]) if word == "\1" else found[-1].append(word)
    return found[:-1]


def _unique(commands):
    return list(dict.fromkeys(shlex.join(command) for command in commands))


@pytest.mark.parametrize(
    ("failures", "plan", "verbs"),
    [
        # No capacity, then some.
        ({"create": ["capacity", "internal"]}, ["finish"], ["create"] * 3 + ["scp", "ssh"]),
        # ssh is not there yet when the machine is ready.
        ({"scp": ["internal"]}, ["finish"], ["create", "scp", "scp", "ssh"]),
        # Preempted in the middle: the run's Python is cut off, the machine is gone.
        ({}, ["preempt", "finish"], ["create", "scp", "ssh", "delete", "create", "scp", "ssh"]),
        # Preempted, and saved in time: status 0, but no result.
        ({}, ["save", "finish"], ["create", "scp", "ssh", "scp", "ssh"]),
        # The connection drops, the run goes on, and is not started twice.
        ({"ssh": ["drop"]}, ["slow"], ["create", "scp", "ssh", "scp", "ssh"]),
        # A signal in Python's first second.
        ({}, ["early", "finish"], ["create", "scp", "ssh", "scp", "ssh"]),
        # Crashed by something that is not its own fault.
        ({}, ["crash", "finish"], ["create", "scp", "ssh", "scp", "ssh"]),
        # gcloud itself fails, the machine is stopped, or busy for a while.
        ({"describe": ["internal"]}, ["finish"], ["create", "scp", "ssh"]),
        ({"describe": ["STOPPED"]}, ["finish"], ["start", "scp", "ssh"]),
        ({"describe": ["CREATING", "STARTING", "READY"]}, ["finish"], ["scp", "ssh"]),
    ],
)  # fmt: skip
def test_what_can_be_tried_again_is(tmp_path, failures, plan, verbs):
    cloud = Cloud(tmp_path / "cloud", plan, failures)
    if "describe" in failures and "internal" not in failures["describe"]:
        cloud.launch(cloud.root / "bin/gcloud", "compute", "tpus", "tpu-vm", "create")
        (cloud.root / "calls").unlink()
    done = cloud.launch(VM, *WHERE, *RUN, "--config.seed=1")
    assert done.returncode == 0, done.stderr
    assert cloud.verbs() == verbs
    assert cloud.runs() == [run_arguments("--config.seed=1")] * len(plan)
    assert f"== finished: {WORKDIR}" in done.stderr


@pytest.mark.parametrize("failure", ["quota", "permission"])
def test_what_trying_again_does_not_help_stops_in_one_line(tmp_path, failure):
    cloud = Cloud(tmp_path / "cloud", failures={"create": [failure] * 5})
    done = cloud.launch(VM, *WHERE, *RUN)
    assert done.returncode == 1
    assert cloud.verbs() == ["create"]
    (error,) = [line for line in done.stderr.splitlines() if not line.startswith("==")]
    assert error.startswith("error: mine cannot be had, and trying again would not help: ERROR: (gcloud) ")


def test_a_run_that_fails_by_itself_stops(tmp_path):
    cloud = Cloud(tmp_path / "cloud", ["fail"] * 9)
    done = cloud.launch(POD, *WHERE, *RUN)
    assert done.returncode == 1
    assert cloud.verbs() == ["create", "scp", "ssh"]
    assert "error: the run failed, see above; mine still exists and costs: " in done.stderr.splitlines()[-1]


def test_failures_are_counted_as_long_as_nothing_is_saved(tmp_path):
    cloud = Cloud(tmp_path / "cloud", ["crash", "nothing", "crash"])
    done = cloud.launch(VM, *WHERE, "--retries=1", *RUN)
    assert done.returncode == 1
    assert len(cloud.runs()) == 2
    assert "error: gave up on mine after 1 failures in a row; mine still exists" in done.stderr
    cloud = Cloud(tmp_path / "saving", ["save"] * 3 + ["finish"])
    assert cloud.launch(VM, *WHERE, "--retries=1", *RUN).returncode == 0
    assert len(cloud.runs()) == 4


def test_what_every_start_writes_is_not_taken_for_something_saved(tmp_path):
    """Or a run that crashes at every start would be tried for ever, on a TPU that costs."""
    cloud = Cloud(tmp_path / "cloud", ["start", "start", "stop", "finish"])
    done = cloud.launch(VM, *WHERE, "--retries=2", *RUN)
    assert done.returncode == 1
    assert len(cloud.runs()) == 3
    assert "error: gave up on mine after 2 failures in a row; mine still exists" in done.stderr


@pytest.mark.parametrize(
    "file",
    [
        "seed_0/representation/checkpoints/7/state/d/x", "representation/best_on_validation/checkpoints/7/note/m",
        "tuning/held_out_0.2/seed_0/representation/DONE.json", "seed_0/representation/skipped.json",
        "tuning/choice_0a1b.json", "seed_3/result.json", "result.json", "eval.json",
    ],
)  # fmt: skip
@pytest.mark.parametrize("workdir", ["here", "gs://bucket/checkpoints/1/work dir"])
def test_what_is_something_saved(tmp_path, workdir, file):
    """A new file, and not what lies beside it; nor is all of a workdir with such a name."""
    cloud, bucket = Cloud(tmp_path / "cloud"), workdir.startswith("gs:")
    folder = cloud.root / "bucket" if bucket else tmp_path / "here"
    for name in ("config.json", "seed_0/metrics.jsonl", "representation/predictions_test.npz", "seed_0/eval.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).touch()
    gcloud = cloud.root / "bin/gcloud"
    gcloud.write_text(f"#!/bin/sh\ncd {folder} && find . -type f -printf '  12  2026-01-01  {workdir}/%P\\n'\n")
    script = f"set -euo pipefail; . {ROOT}/launch/saved.sh; workdir='{workdir}'; saved"
    told = cloud.launch("bash", "-c", script, cwd=tmp_path).stdout
    assert [line.split(maxsplit=2 if bucket else 1)[-1] for line in told.splitlines()] == [file]


def test_an_older_result_is_not_taken_for_the_end(tmp_path):
    """As where seeds are added to a finished run, and the first attempts are preempted, one of them early."""
    cloud = Cloud(tmp_path / "cloud", ["stop", "save", "finish"])
    (cloud.root / "bucket/seed_0").mkdir()
    for file in ("result.json", "seed_0/result.json"):
        (cloud.root / "bucket" / file).write_text("of fewer seeds")
    assert cloud.launch(VM, *WHERE, *RUN).returncode == 0
    assert len(cloud.runs()) == 3


def test_a_run_of_one_seed_that_was_finished_before_is_finished(tmp_path):
    cloud = Cloud(tmp_path / "cloud", ["nothing"])  # main prints the result
    (cloud.root / "bucket/result.json").write_text("of its only seed")
    assert cloud.launch(VM, *WHERE, "--retries=0", *RUN).returncode == 0
    assert len(cloud.runs()) == 1


def test_an_evaluation_is_over_when_it_has_written_what_it_found(tmp_path):
    """And not when it was preempted, which ends with status 0 too."""
    cloud = Cloud(tmp_path / "cloud", ["nothing", "evaluate"])
    for file in ("result.json", "eval.json"):
        (cloud.root / "bucket" / file).write_text("old")
    assert cloud.launch(VM, *WHERE, *RUN, "--eval_only").returncode == 0
    assert cloud.runs() == [run_arguments("--eval_only")] * 2


def test_another_run_on_the_machine_is_left_alone(tmp_path):
    cloud = Cloud(tmp_path / "cloud", ["slow"], {"ssh": ["drop"]})
    assert cloud.launch(VM, *WHERE, "--retries=0", *RUN).returncode == 1
    other = cloud.launch(VM, *WHERE, *RUN, "--config.seed=7")
    assert other.returncode == 1
    assert "error: another run is still going on here: --config=" in other.stdout
    assert cloud.runs() == [run_arguments()]
    (cloud.root / "seen").touch()


def test_a_queued_resource_is_waited_for_and_asked_for_again(tmp_path):
    waiting = {"describe": ["WAITING_FOR_RESOURCES"] * 5 + ["PROVISIONING", "ACTIVE"]}
    cloud = Cloud(tmp_path / "cloud", ["preempt", "finish"], waiting)
    (cloud.root / "queue").write_text("ACCEPTED")
    for worker in ("worker0",):  # what comes when it is granted
        Cloud(tmp_path / "other").launch(tmp_path / "other/bin/gcloud", "compute", "tpus", "tpu-vm", "create")
        (tmp_path / "other" / worker).rename(cloud.root / worker)
    tools = cloud.root / "worker0/.local/bin/python"
    tools.write_text(tools.read_text().replace(str(tmp_path / "other"), str(cloud.root)))
    (cloud.root / "vm").write_text("READY")
    done = cloud.launch(VM, *WHERE, "--queued", "--spot", "--retries=1", *RUN, "--config.seed=1")
    assert done.returncode == 0, done.stderr
    assert cloud.verbs() == ["scp", "ssh", "delete", "create", "scp", "ssh"]
    create = next(call for call in cloud.calls() if "create" in call)
    assert create[2:5] == ["queued-resources", "create", "mine"]
    assert {"--node-id=mine", "--spot", "--accelerator-type=v5litepod-8"} < set(create)
    assert "--force" in next(call for call in cloud.calls() if "delete" in call)


@pytest.mark.parametrize(
    ("reason", "verbs", "message"),
    [
        ("Quota limit 'X' has been exceeded.", [], "mine cannot be had, and trying again would not help: Quota limit"),
        ("Internal error.", ["delete", "create"] * 2, "gave up on mine after 1 failures in a row"),
    ],
)
def test_a_queued_resource_that_fails_is_not_asked_for_for_ever(tmp_path, reason, verbs, message):
    cloud = Cloud(tmp_path / "cloud", failures={"describe": ["FAILED", "", "FAILED", ""]})
    (cloud.root / "reason").write_text(reason)
    done = cloud.launch(VM, *WHERE, "--queued", "--retries=1", *RUN)
    assert done.returncode == 1
    assert cloud.verbs() == verbs
    assert f"error: {message}" in done.stderr


def test_an_interrupt_leaves_the_run_alone(tmp_path):
    cloud = Cloud(tmp_path / "cloud", ["slow"])
    (cloud.root / "unseen").touch()
    environment = os.environ | {"PATH": f"{cloud.root / 'bin'}:{os.environ['PATH']}"}
    command = [str(VM), *WHERE, *RUN]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    assert any(line == "run: slow\n" for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "mine still exists, and a run that was started goes on there: the same command follows it again" in told
    (cloud.root / "unseen").unlink()
    assert cloud.launch(VM, *WHERE, *RUN).returncode == 0
    assert cloud.runs() == [run_arguments()]


def test_it_is_deleted_on_request_only(tmp_path):
    cloud = Cloud(tmp_path / "cloud")
    assert cloud.launch(VM, *WHERE, "--delete", *RUN).returncode == 0
    assert cloud.verbs() == ["create", "scp", "ssh", "delete"]
    failed = Cloud(tmp_path / "failed", ["fail"])
    assert failed.launch(VM, *WHERE, "--delete", *RUN).returncode == 1
    assert "delete" not in failed.verbs()  # its log is still there
    alone = Cloud(tmp_path / "alone")
    assert alone.launch(POD, *WHERE, "--delete").returncode == 0
    assert alone.calls() == [["compute", "tpus", "tpu-vm", "delete", "mine", "--zone=z", "--quiet"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--zone=z", *RUN], "--name=NAME and --zone=ZONE are needed"),
        (["--naem=x"], "--naem=x is no option of "),
        ([*WHERE], r"CONFIG and gs://BUCKET/WORKDIR are needed"),
        ([*WHERE, RUN[0], "runs/here"], "the workdir is 'runs/here'; it must be gs://BUCKET/..., which outlives"),
        ([*WHERE, "configs/none.py", WORKDIR], "CONFIG is 'configs/none.py'; it must be a file of configs/"),
        ([*WHERE, "--retries=many", *RUN], "--retries and --wait are whole numbers, not 'many'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_created(tmp_path, arguments, message):
    cloud = Cloud(tmp_path / "cloud")
    done = cloud.launch(VM, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not cloud.calls()
