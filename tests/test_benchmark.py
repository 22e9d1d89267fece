"""The benchmark's own arithmetic, protocol and comparison network; nothing here depends on how fast anything is."""

import copy
import importlib.util
import io
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from absl import flags
from conftest import ROOT

from gcl_jax import sampling
from gcl_jax.benchmark import __main__ as command
from gcl_jax.benchmark import cifar, harness, measure, photographs, report, startup, subjects
from gcl_jax.benchmark import worker as worker_process
from gcl_jax.errors import UserError

# A contender that says how long each turn took, one second a unit more than in the turn before.
HONEST = """
import json, sys
print("ready", flush=True)
turn = 0
for line in sys.stdin:
    turn += 1
    answer = {"turns": turn} if line.strip() == "facts" else {"seconds": turn * int(line)}
    print(json.dumps(answer), flush=True)
"""


def worker(code, name="it"):
    return harness.Worker(name, [sys.executable, "-c", code])


def test_workers_take_turns_and_are_asked_for_units():
    order = []
    with worker(HONEST) as one, worker(HONEST) as two:
        times = harness.interleave([one, two], [2, 3], rounds=3, before_round=lambda: order.append("idle"))
        assert one.facts() == {"turns": 4}
    assert times == [[1.0, 2.0, 3.0]] * 2
    assert order == ["idle"] * 3


def test_units_are_doubled_until_a_turn_is_long_enough():
    class Fake:
        def turn(self, units):
            return 0.3

    assert harness.units_for(Fake(), 2.0) == 4
    assert harness.units_for(Fake(), 0.1) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit('no such thing')", "it: the worker process ended with exit status 1 .*: no such thing"),
        ("import os; os.kill(os.getpid(), 9)", "it: the worker process was killed by SIGKILL .* out of memory"),
        ("print('ready', flush=True); input(); raise SystemExit(3)", "it: the worker process ended with exit status 3"),
        ("print('ready', flush=True)", "it: the worker process ended with exit status 0"),
        ('print(\'{"error": "install it"}\', flush=True)', "^it: install it$"),
    ],
)
def test_a_worker_that_dies_is_an_error_and_not_a_hang(code, message):
    with pytest.raises(UserError, match=message) as error, worker(code) as started:
        started.turn(1)
    assert "\n" not in str(error.value)


def test_a_dead_worker_whose_child_holds_the_pipe_is_noticed():
    child = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)']); sys.exit(5)"
    )
    with pytest.raises(UserError, match="exit status 5"):
        worker(child)


class Contender:
    """What `worker` makes of a contender's class."""

    def __init__(self, limit):
        self.limit, self.done = limit, 0

    def run(self, units):
        self.done += units
        if self.done > self.limit:
            raise UserError("enough")

    def facts(self):
        return {"done": self.done}


def test_a_worker_answers_line_by_line_and_passes_a_user_error_on(monkeypatch):
    monkeypatch.setattr(harness, "Contender", Contender, raising=False)  # a module of the package
    answers = io.StringIO()
    worker_process.serve("harness.Contender", {"limit": 5}, io.StringIO("2\n3\nfacts\n1\n"), answers)
    ready, first, second, facts, error = answers.getvalue().splitlines()
    assert ready == "ready"
    assert all(json.loads(line)["seconds"] >= 0 for line in (first, second))
    assert json.loads(facts) == {"done": 5}
    assert json.loads(error) == {"error": "enough"}


def test_a_worker_prints_nothing_but_answers():
    done = subprocess.run(
        [sys.executable, "-m", "gcl_jax.benchmark.worker", "torch_workers.Nothing", "{}"],
        cwd=ROOT, input="", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert "AttributeError" in done.stderr


def canned(name="epoch", rounds=2):
    subject = subjects.SUBJECTS[name][0](subjects.Options())
    times = [[1.0, 2.0], [4.0, 4.0], [3.0, 5.0], [2.0, 3.0]]
    facts = [{"images_per_unit": 64, "platform": "cpu", "kind": "cpu", "steps": 1, "host_peak_bytes": 2**20}] * 4
    if name == "step":
        times += [[0.5, 0.25]] * 1
        facts = [one | {"flops_per_unit": 1e9, "bytes_per_unit": None, "temp_bytes": 2**21} for one in facts[:3]]
        facts += [{"flops_per_unit": 1e9, "host_peak_bytes": 1}, {"bytes_per_unit": 10**9, "host_peak_bytes": 1}]
    found = measure.combine(subject, [1] * len(times), times, facts) | {"busy_cores": [0.0, 0.0]}
    return report.complete(name, rounds, found)


def test_ratios_are_per_round_and_against_the_better_one():
    found = canned()
    assert (found["ratio"], found["ratio_min"], found["ratio_max"]) == (1.75, 1.5, 2.0)
    assert found["ratio_against"] == found["ratio_device_loop_against"] == "torch resident channels_last"
    assert (found["ratio_authors_loop"], found["ratio_authors_loop_min"]) == (3.0, 2.0)
    assert found["rows"]["gcl_jax"]["images_per_second"] == {"median": 48.0, "min": 32.0, "max": 64.0}
    assert json.loads(json.dumps(found)) == found


def test_photographs_are_told_a_core_and_with_jitter():
    subject = subjects.SUBJECTS["input"][0](subjects.Options(root="photos"))
    assert {contender.settings["root"] for contender in subject.contenders} == {"photos"}
    facts = [{"images_per_unit": 2048, "platform": "cpu", "kind": "cpu", "host_peak_bytes": 2**20, "per_core": 2}] * 4
    found = measure.combine(subject, [1] * 4, [[1.0], [2.0], [3.0], [4.0]], facts) | {"busy_cores": [0.0]}
    assert found["ratio"] == 3.0
    assert found["ratio_jitter"] == 4.0
    assert found["rows"]["gcl_jax host loader"]["images_per_second_per_core"]["median"] == 1024
    assert "images/s a core" in report.table(report.complete("input", 1, found))


def test_too_few_photographs_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds 0 JPEG files; 512 different ones are needed"):
        photographs.prepare(str(tmp_path))


def test_alone_there_is_no_ratio():
    subject = subjects.SUBJECTS["epoch"][0](subjects.Options()).alone()
    facts = [{"images_per_unit": 64, "platform": "gpu", "kind": "a card", "steps": 1}]
    found = measure.combine(subject, [1], [[1.0]], facts)
    assert "ratio" not in found
    assert found["accelerator"] == "a card"


def test_rates_stand_beside_their_ceilings():
    found = canned("step")
    assert found["flops_per_second"] == pytest.approx(1e9 / 1.5)
    assert found["flops_per_second_ceiling"] == pytest.approx(1e9 / 2)
    assert "bytes_per_second" not in found  # the compiler did not count them
    assert found["bytes_per_second_ceiling"] == pytest.approx(4e9)


@pytest.mark.parametrize("name", ["epoch", "step"])
def test_the_table_says_what_where_and_how_much(name):
    found = canned(name)
    text = report.table(found)
    for part in (found["title"], found["machine"]["cpu"], f"jax {jax.__version__}", "images/s", "gcl_jax", "1,500 "):
        assert part in text
    assert f"ratio {found['ratio']:.2f} (" in text
    assert "TRUSTED" not in text
    found["machine"]["busy_cores"] = [0.0, 1.5]
    assert "NOT TO BE TRUSTED: others kept 1.5 of" in report.table(found)


def test_a_report_of_commands():
    rows = {startup.HELP: {"seconds": harness.spread([0.1])}}
    own = {"title": "t", "unit": "command", "accelerator": None, "busy_cores": [None], "rows": rows, "notes": []}
    text = report.table(report.complete("startup", 1, own | {"tensorflow_imported": False}))
    assert "TensorFlow was not imported" in text
    assert "images/s" not in text


def check(*arguments):
    values = flags.FlagValues()
    for name in ("against", "json", "precision", "steps", "rounds", "root"):
        values[name] = flags.FLAGS[name]
    values = copy.deepcopy(values)  # the global flags stay as they are
    rest = values(["benchmark", *arguments])
    command.check(rest[1:], values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["stpe"],
            r"^the subject is 'stpe' \(did you mean 'step'\?\); choose one of step, epoch, eval, input, startup$",
        ),
        ([], "^name one subject, not 0: step, "),
        (["step", "epoch"], "^name one subject, not 2: "),
        (["step", "--steps=3"], "^--steps means nothing to step: leave it out$"),
        (["startup", "--against=torch"], "^--against means nothing to startup"),
        (["input", "--precision=bf16"], "^--precision means nothing to input"),
        (["step", "--against=troch"], r"^--against is 'troch' \(did you mean 'torch'\?\)"),
        (["step", "--precision=fp16"], r"^--precision is 'fp16'"),
        (["epoch", "--steps=-1"], "^--steps is -1"),
        (["step", "--root=tests"], "^--root means nothing to step"),
        (["input", "--root=nowhere"], "^--root=nowhere: there is no such folder"),
        (["step", "--json=tests"], "--json=tests is a folder; name a file$"),
        (["step", "--json=no/such/folder/x.json"], "there is no folder no/such/folder$"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        check(*arguments)


def test_torch_that_is_missing_is_named_with_the_cure(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^--against=torch needs torch: pip install 'gcl_jax\[bench\]'$"):
        check("step", "--against=torch")
    check("step")


def test_a_tpu_has_no_torch_to_compare_with():
    with pytest.raises(UserError, match="JAX runs on a tpu here"):
        measure.check_platform("tpu")


def test_the_data_have_the_protocols_shapes():
    images, labels = cifar.split("train")
    assert images.shape == (12406, 32, 32, 3)
    assert np.bincount(labels).tolist() == cifar.COUNTS.tolist()
    assert cifar.split("test")[0].shape == (10000, 32, 32, 3)
    assert sampling.steps_per_epoch(len(labels), cifar.BATCH) == cifar.STEPS_PER_EPOCH


def test_torchs_side_is_ours():
    """The checks of with_torch.py, in a process of their own: PyTorch and TensorFlow in one can crash."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: pip install 'gcl_jax[bench]'")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/with_torch.py"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
