"""Logits that runs leave, and metrics of a module from outside that are made from them, whatever happens to the run."""

import json
import os
import shutil
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import photographs
import pytest
from conftest import QUICK, ROOT
from etils import epath
from test_evaluate import STATS, TRANSFORMS
from tiny import digits, override, override_flags

from gcl_jax import metrics, stored_logits
from gcl_jax.data.dataset import Dataset, Split
from gcl_jax.data.device import DeviceLoader
from gcl_jax.methods import CrossEntropy
from gcl_jax.runtime import mesh
from gcl_jax.training import evaluate, experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")

PLUGIN = '''
import numpy as np
from gcl_jax.metrics import METRICS


def agreement(logits, labels, counts):
    """Accuracy, and that of the rarer half of the classes, in percent."""
    assert logits.dtype == np.float32 and logits.shape == (len(labels), len(counts))
    right = logits.argmax(axis=1) == labels
    return {"all": 100 * right.mean(), "rare": 100 * right[counts[labels] <= np.median(counts)].mean()}


def hopeless(logits, labels, counts):
    raise RuntimeError("no such number")


METRICS.register("agreement", agreement)
METRICS.register("hopeless", hopeless)
'''
NAMES = ("agreement", "hopeless", "g_mean")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The folder of a module that registers two metrics, on the path here."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "metrics_from_outside.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
    sys.modules.pop("metrics_from_outside", None)
    for name in NAMES[:2]:
        metrics.METRICS.pop(name, None)


def short(**keys):
    """One stage of some epochs, so that several classes are predicted, with a validation part."""
    values = {
        "representation.epochs": 3, "representation.optimizer.schedule": "constant", "eval.every_epochs": 3,
        "representation.optimizer.learning_rate": 0.05, "representation.optimizer.warmup_percent": 0.0,
        "data.validation_fraction": 0.2, "stages": ("representation",),
    }  # fmt: skip
    return override(digits(), values | {key.replace("__", "."): value for key, value in keys.items()})


@pytest.fixture(scope="module")
def finished(tmp_path_factory, plugin, quick_compilation):
    """A run that stored logits, and its result."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, experiment.run(short(plugins=("metrics_from_outside",), eval__metrics=NAMES), workdir)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of `finished`, to be changed."""
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


def stored(workdir, split="test"):
    return stored_logits.read(epath.Path(workdir) / "representation", split)


def files(workdir):
    return {path.name: path.read_bytes() for path in (workdir / "representation").glob("logits_*")}


def test_logits_are_those_of_the_predictions(finished):
    workdir, result = finished
    assert sorted(files(workdir)) == ["logits_test.npz", "logits_validation.npz"]
    assert not list((workdir / "representation").rglob(".*"))
    for split in ("test", "validation"):
        found = stored(workdir, split)
        assert found.class_counts.tolist() == result["data"]["class_counts"]
        assert list(found.class_names) == result["data"]["class_names"]
        with np.load(workdir / "representation" / f"predictions_{split}.npz") as npz:
            assert found.labels.tolist() == npz["label"].tolist()
            assert found.logits.argmax(1).tolist() == npz["predicted"].tolist()
            gap = (found.logits.max(1, keepdims=True) - found.logits).astype(np.float64)
            of_label = gap[np.arange(len(gap)), found.labels]
            nll = of_label + np.log(np.exp(-gap).sum(1))
            # Each gap is rounded by up to 2^-11 of itself, and the logarithm moves by at most the sum of e^-gap gap of
            # the classes, each at most 1/e.
            bound = 2.0**-11 * (of_label + gap.shape[1] / np.e) + 1e-5
            assert (np.abs(nll - npz["nll"]) <= bound).all()


def test_metrics_of_a_module_are_in_the_result(finished):
    workdir, result = finished
    done = json.loads((workdir / "representation" / "DONE.json").read_text())
    assert done["final"] == result["final"] == result["stages"]["representation"]["final"]
    for split in ("test", "validation"):
        final = result["final"][split]
        assert final["agreement"]["all"] == pytest.approx(final["accuracy"])
        assert final["hopeless"] is None
        found = stored(workdir, split)
        assert final["g_mean"] == metrics.METRICS["g_mean"](found.logits, found.labels, found.class_counts)
        assert tuple(final)[: -len(NAMES)] == metrics.SUMMARY_KEYS  # as before, in that order


def test_a_metric_that_fails_is_a_line(run, capsys):
    (run / "representation" / "DONE.json").unlink()
    (run / "result.json").unlink()
    experiment.run(short(plugins=("metrics_from_outside",), eval__metrics=NAMES), run)
    lines = [line for line in capsys.readouterr().out.splitlines() if "hopeless" in line]
    assert [line.split(": ", 1)[1].split(" failed")[0] for line in lines] == [
        "representation, test: metric 'hopeless'", "representation, validation: metric 'hopeless'",
    ]  # fmt: skip
    assert "null in the result" in lines[0]


def test_without_logits_there_are_metrics(tmp_path, finished, capsys):
    """The file from which they are made is then removed."""
    keys = {"plugins": ("metrics_from_outside",), "eval__metrics": ("agreement",), "eval__store_logits": False}
    result = experiment.run(short(**keys), tmp_path / "run")
    assert not files(tmp_path / "run")
    assert "logits stored" not in capsys.readouterr().out
    assert result["final"]["test"]["agreement"] == finished[1]["final"]["test"]["agreement"]


def test_neither(tmp_path, monkeypatch):
    """Then there is no other forward pass."""
    monkeypatch.setattr(evaluate, "logits", None)
    experiment.run(short(eval__store_logits=False), tmp_path / "run")
    assert not files(tmp_path / "run")


def evaluated(run, **keys):
    keys = {"plugins": ("metrics_from_outside",), "eval__metrics": ("agreement",)} | keys
    return experiment.run(short(**keys), run, eval_only=True)["final"]["test"]


def test_eval_only_reads_what_is_stored(run, finished, monkeypatch):
    """A metric that is added later; no file changes."""
    monkeypatch.setattr(evaluate, "logits", None)
    before = files(run)
    found = stored(run)
    expected = metrics.METRICS["mcc"](found.logits, found.labels, found.class_counts)
    assert evaluated(run, eval__metrics=("mcc",))["mcc"] == expected > 0.1
    assert evaluated(run)["agreement"] == finished[1]["final"]["test"]["agreement"]
    assert files(run) == before


@pytest.mark.parametrize("damage", ["missing", "cut", "other labels"])
def test_eval_only_stores_again(run, damage, capsys):
    before, file = files(run), run / "representation" / "logits_test.npz"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        os.truncate(file, 300)
    else:
        shutil.copyfile(run / "representation" / "logits_validation.npz", file)
    found = evaluated(run)
    assert found["agreement"]["all"] == pytest.approx(found["accuracy"])
    assert files(run) == before
    assert ("is damaged" in capsys.readouterr().out) == (damage == "cut")


@pytest.mark.parametrize("there", [True, False])
def test_an_older_checkpoint_has_its_own_metrics(run, there):
    """Of a finished stage that lost its last one: it takes no stored logits, and stores none as the stage's."""
    checkpoints, last = run / "representation" / "checkpoints", stored(run)
    shutil.rmtree(checkpoints / str(max(int(path.name) for path in checkpoints.glob("[0-9]*"))))
    if not there:
        (run / "representation" / "logits_test.npz").unlink()
    before = files(run)
    found = evaluated(run, eval__metrics=("agreement", "brier"))
    assert found["agreement"]["all"] == pytest.approx(found["accuracy"])
    assert found["brier"] != metrics.METRICS["brier"](last.logits, last.labels, last.class_counts)
    assert files(run) == before


@pytest.mark.parametrize("unfinished", [False, True])
def test_other_rules_change_no_file(run, unfinished):
    """Nor does what may still train."""
    before = files(run)
    if unfinished:
        (run / "representation" / "DONE.json").unlink()
        (run / "representation" / "logits_test.npz").unlink()
        del before["logits_test.npz"]
    keys = {} if unfinished else {"posthoc__logit_adjustment": 1.5}
    found = evaluated(run, **keys)
    assert found["agreement"]["all"] == pytest.approx(found["accuracy"])
    with np.load(run / "representation" / "predictions_test.npz") as npz:
        trained = np.mean(npz["nll"])
    assert (found["nll"] == pytest.approx(trained)) == unfinished
    assert files(run) == before


@pytest.mark.slow
def test_seeds_side_by_side(tmp_path):
    experiment.run(short(num_seeds=2, seeds_at_once=2), tmp_path / "run")
    for seed in ("seed_0", "seed_1"):
        found = stored(tmp_path / "run" / seed)
        with np.load(tmp_path / "run" / seed / "representation" / "predictions_test.npz") as npz:
            assert found.logits.argmax(1).tolist() == npz["predicted"].tolist()
    assert files(tmp_path / "run" / "seed_0") != files(tmp_path / "run" / "seed_1")


@pytest.mark.slow
def test_photographs_are_named(tmp_path):
    root = photographs.four_classes(tmp_path / "photographs")
    config = photographs.config_of(root, "folder", representation__epochs=1, stages=("representation",))
    result = experiment.run(config, tmp_path / "run")
    found = stored(tmp_path / "run")
    names = [f"{found.class_names[label]}/" for label in found.labels]
    assert all(name in file for name, file in zip(names, found.files, strict=True))
    assert len(set(found.files)) == len(found.files) == result["final"]["test"]["num_examples"] == 8
    assert found.class_names == ("ant", "bee", "cat", "dog")


KILLED = """
import os, runpy, signal, sys
from gcl_jax import metrics, stored_logits

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

{}
sys.argv[0] = "main"
runpy.run_module("gcl_jax.main", run_name="__main__")
"""
MOMENTS = {
    "half written": "add, stored_logits.Writer.add = stored_logits.Writer.add, lambda *a: (add(*a), kill())",
    "written": "metrics.measure = kill",
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["half written", "written"])
def test_kill_between_checkpoint_and_done(tmp_path, plugin, moment):
    """It goes on from the last checkpoint, with nothing left to train, and leaves what an undisturbed run leaves."""
    flags = [
        "--config=configs/digits_lt.py:ce",
        *override_flags(representation__epochs=1, plugins="('metrics_from_outside',)", eval__metrics=NAMES),
    ]
    env = os.environ | QUICK | {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(plugin)])}

    def start(workdir, *command):
        command = [sys.executable, *command, *flags, f"--workdir={workdir}"]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200)

    def final(workdir):
        return json.loads((workdir / "result.json").read_text())["final"]

    killed = start(tmp_path / "run", "-c", KILLED.format(MOMENTS[moment]))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    stage = tmp_path / "run" / "representation"
    assert list((stage / "checkpoints").glob("[0-9]*"))
    assert not (stage / "DONE.json").exists()
    assert (stage / "logits_test.npz").exists() == (moment == "written")
    for workdir in (tmp_path / "run", tmp_path / "whole"):
        done = start(workdir, "-m", "gcl_jax.main")
        assert done.returncode == 0, done.stderr
        assert "logits stored as float16, test " in done.stdout
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert final(tmp_path / "run") == final(tmp_path / "whole")
    assert final(tmp_path / "run")["test"]["agreement"]["all"] > 0
    assert not list(stage.glob(".*"))


class TwoExperts(CrossEntropy):
    """The first three pixels, the next to the last three, and their mean."""

    def predict(self, out, method_state, info):
        experts = jnp.stack([out["scores"][:, :3], out["scores"][:, 1:4]], axis=1)
        return {"logits": experts.mean(axis=1), "experts": experts}


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_experts_through_the_evaluation_step(tmp_path, tau):
    """What a method's prediction has beside its logits, over batches whose last is not full, after posthoc."""

    def apply(variables, images, *, train, key=None):
        return {"scores": images.reshape(len(images), -1)}, {}

    pixels = np.random.RandomState(0).randint(0, 9, (22, 2, 2, 1)).astype(np.uint8)
    labels = np.arange(22, dtype=np.int32) % 3
    dataset = Dataset("known", {"test": Split(pixels, labels)}, ("a", "b", "c"), np.arange(0))
    grid = mesh.make_mesh()
    loader = DeviceLoader(dataset, grid)
    step = evaluate.make_eval_step(apply, TwoExperts(), TRANSFORMS, loader.fetch, tau)
    batches = list(evaluate.logits(step, ({}, {}), STATS, loader, grid, "test", 22, 10))
    assert [len(batch["logits"]) for batch in batches] == [10, 10, 2]
    with stored_logits.Writer(tmp_path, "test", labels, tuple("abc"), np.arange(3)) as writer:
        for batch in batches:
            writer.add(batch)
        writer.finish()
    found = stored_logits.read(tmp_path, experts=True)
    flat, prior = pixels.reshape(22, -1), np.array([0.9, 0.09, 0.01])
    expected = np.stack([flat[:, :3], flat[:, 1:]], axis=1) - tau * np.log(prior)
    np.testing.assert_allclose(found.experts, expected, atol=0.01)
    np.testing.assert_allclose(found.logits, expected.mean(1), atol=0.01)
