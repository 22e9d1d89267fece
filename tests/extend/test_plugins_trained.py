"""Each plugin as a run: killed in the middle it ends as if nothing had happened, and two devices are as one."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import PIL.Image
import pytest
from conftest import QUICK, ROOT
from experiments import CONFIGS, get_config
from extending import PLUGINS, advance, make_stage, plugins  # noqa: F401
from same_run import assert_same_run

from gcl_jax import data, trained
from gcl_jax.checkpoints.checkpoint import flatten
from gcl_jax.training import train_state

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plugins")]
STARTS = {"low_rank_adapter": "small_transformer"}  # whose finished run a config starts from


def python(*arguments, cwd=ROOT):
    path = os.pathsep.join(filter(None, [str(PLUGINS), str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | QUICK | {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """The finished run of a config, made once; and its arguments."""
    root = tmp_path_factory.mktemp("runs")

    @functools.cache
    def made(name):
        start = [f"--config.representation.init_from={made(STARTS[name])[0]}"] if name in STARTS else []
        arguments = [f"--config=tests/extend/experiments.py:{name}", *start]
        done = python("-m", "gcl_jax.main", *arguments, f"--workdir={root / name}")
        assert done.returncode == 0, done.stderr
        return root / name, arguments

    return made


@pytest.mark.parametrize("name", CONFIGS)
def test_kill_and_resume(run_of, tmp_path, name):
    """Killed after 13 of about 18 steps, in mid-epoch and between two checkpoints, then started again."""
    whole, arguments = run_of(name)
    workdir = tmp_path / "run"
    killed = python("tests/run_and_kill.py", "representation", "step", "13", *arguments, f"--workdir={workdir}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (workdir / "result.json").exists()
    resumed = python("-m", "gcl_jax.main", *arguments, f"--workdir={workdir}")
    assert resumed.returncode == 0, resumed.stderr
    assert_same_run(workdir, whole, stages=("representation",))


@pytest.mark.parametrize("name", CONFIGS)
def test_two_devices_equal_one(name):
    """Three steps at a small rate: rounding only.

    The transformers train by SGD here: some of their gradients are 0 but for rounding (a bias of all keys moves no
    softmax), of which Adam makes steps of full length in any direction.
    """
    config = get_config(name)
    optimizer = config.representation.optimizer
    if name in ("small_transformer", "low_rank_adapter"):
        optimizer.name = "sgd"
    optimizer.learning_rate = 0.01 if optimizer.name == "sgd" else 1e-4
    results = []
    for devices in (1, 2):
        stage = make_stage(config, devices=devices)
        found = jax.device_get(stage._init_network(jax.random.key(7))) | {"class_names": stage.dataset.class_names}
        state, inputs, _ = stage.start(0, found, "another run")
        results.append(flatten(jax.device_get(train_state.to_save(advance(stage, state, inputs, 3)))))
    one, two = results
    assert one.keys() == two.keys()
    for path in one:
        np.testing.assert_allclose(two[path], one[path], rtol=1e-3, atol=1e-5, err_msg=path)


def logits_of(folder):
    """log p of the digits' test images, as `gcl_jax.predict` computes p; their labels."""
    network = trained.read(str(folder))
    keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
    test = data.load(**{key: network.config.data[key] for key in keys}).splits["test"]
    return np.asarray(jax.jit(network.probabilities())(network.variables, test.images)), test


@pytest.mark.parametrize(
    "name", ["adamw_cosine", "mean_teacher", "three_experts", "small_transformer", "low_rank_adapter"]
)
def test_what_is_predicted_and_exported_is_what_was_evaluated(run_of, tmp_path, name):
    folder, _ = run_of(name)
    p, test = logits_of(folder)
    final = json.loads((folder / "result.json").read_text())["final"]["test"]
    assert 100 * np.mean(p.argmax(1) == test.labels) == pytest.approx(final["accuracy"], abs=0.01)
    done = python("-m", "gcl_jax.export", f"--workdir={folder}", f"--out={tmp_path / 'model'}")
    assert done.returncode == 0, done.stderr
    program = jax.export.deserialize((tmp_path / "model" / "model.stablehlo").read_bytes())
    np.testing.assert_allclose(program.call(test.images[:50]), p[:50], rtol=1e-4, atol=1e-5)
    file = tmp_path / "digit.png"
    PIL.Image.fromarray(test.images[0, ..., 0]).save(file)
    done = python("-m", "gcl_jax.predict", f"--workdir={folder}", file, "--top=1", f"--csv={tmp_path / 'out.csv'}")
    assert done.returncode == 0, done.stderr
    probability = float(pathlib.Path(tmp_path / "out.csv").read_text().splitlines()[1].split(",")[-1])
    assert probability == pytest.approx(p[0].max(), rel=1e-4)


def test_a_metric_and_a_figure_of_a_run(run_of, tmp_path):
    folder, _ = run_of("head_bias")
    final = json.loads((folder / "result.json").read_text())["final"]["test"]
    assert set(final["head_bias"]) == {"toward_head", "rank"}
    assert final["head_bias"]["toward_head"] > 50
    flags = ["--plugins=accuracy_by_count", f"--workdir={folder}", f"--out={tmp_path}"]
    done = python("-m", "gcl_jax.report", "accuracy_by_count", *flags)
    assert done.returncode == 0, done.stderr
    assert f"head_bias: {final['balanced_accuracy']:.2f} % balanced accuracy" in done.stdout
    assert PIL.Image.open(tmp_path / "accuracy_by_count.png").size[0] > 100
