"""The benchmark's own arithmetic, protocol and comparison network; nothing here depends on how fast anything is."""

import copy
import io
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from conftest import ROOT, relative_error

from gcl_jax import models, sampling
from gcl_jax.benchmark import __main__ as command
from gcl_jax.benchmark import cifar, harness, measure, report, startup, subjects
from gcl_jax.benchmark import worker as worker_process
from gcl_jax.errors import UserError
from gcl_jax.models import torch_names

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
    subject = subjects.SUBJECTS[name][0]("float32", 0)
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


def test_alone_there_is_no_ratio():
    subject = subjects.SUBJECTS["epoch"][0]("float32", 0).alone()
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
    for name in ("against", "json", "precision", "steps", "rounds"):
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


def network_and_variables():
    network = models.build("resnet32", "cosine", cifar.NUM_CLASSES)
    return network, network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)


def test_torchs_network_is_ours():
    """The same parameters, and the same scores from the same weights."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'gcl_jax[bench]'")
    from gcl_jax.benchmark import torch_network

    torch.manual_seed(0)
    theirs = torch_network.build(cifar.NUM_CLASSES)
    for name, value in theirs.named_buffers():  # statistics that a wrong map would show
        if "running" in name:
            value.uniform_(0.5, 1.5)
    network, ours = network_and_variables()
    mapped = torch_names.from_torch({name: value.numpy() for name, value in theirs.state_dict().items()})
    shapes = jax.tree.map(jnp.shape, dict(ours))
    assert jax.tree.map(np.shape, mapped) == shapes
    count = sum(parameter.numel() for parameter in theirs.parameters())
    assert count == sum(leaf.size for leaf in jax.tree.leaves(ours["params"])) == 464_144
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = theirs.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    assert relative_error(network.apply(mapped, images, train=False)["scores"], expected) <= 1e-4


@pytest.mark.parametrize("layout", subjects.LAYOUTS)
def test_torchs_batches_are_crops_of_the_images(layout):
    """Cropped and flipped on the device as one image after the other would be, in the layout that is measured."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'gcl_jax[bench]'")
    from gcl_jax.benchmark import torch_workers

    resident = torch_workers._Resident("cpu", layout, "float32")
    index = torch.arange(0, 12406, 3101)
    images, labels = resident.batch(index)
    assert images.shape == (5, 3, 32, 32)
    assert images.is_contiguous(memory_format=resident.format)
    source, known = cifar.split("train")
    assert labels.tolist() == known[index.numpy()].tolist()
    pixels = np.round((images.numpy().transpose(0, 2, 3, 1) * cifar.STD + cifar.MEAN) * 255)
    for found, original in zip(pixels, source[index.numpy()], strict=True):
        padded = np.pad(original, ((4, 4), (4, 4), (0, 0)))
        windows = (
            padded[i : i + 32, j : j + 32][:, ::turn] for i in range(9) for j in range(9) for turn in (1, -1)
        )  # fmt: skip
        assert any(np.array_equal(found, window) for window in windows)


def test_torchs_loss_is_ours():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'gcl_jax[bench]'")
    from gcl_jax import losses
    from gcl_jax.benchmark import torch_workers

    training = torch_workers._Training("cpu", "nchw", "float32")
    cosine = torch.rand(8, 10) * 2 - 1
    labels = torch.arange(8)
    torch.manual_seed(1)
    theirs = training.loss(cosine, labels).item()
    torch.manual_seed(1)
    noise = torch.randn_like(cosine).numpy() / 3
    ours = losses.gcl(jnp.asarray(cosine.numpy()), jnp.arange(8), noise, training.cloud.numpy(), scale=30.0)
    assert theirs == pytest.approx(float(ours.mean()), rel=1e-5)
