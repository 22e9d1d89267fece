"""docs/photographs.md: five commands from a folder to an exported classifier, and a deep network on real JPEGs."""

import csv
import json
import os
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
from conftest import ROOT, _shared
from tiny import load_config, override, override_flags

from gcl_jax.config import validation
from gcl_jax.training.run_context import RunContext

pytest.importorskip("tensorflow", reason="photographs are decoded by TensorFlow")
pytestmark = pytest.mark.slow

CLASSES = ("Faces", "Leopards", "Motorbikes", "airplanes", "watch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five of the 101 classes, as train/CLASS/*.jpg and test/CLASS/*.jpg."""
    root = tmp_path_factory.mktemp("own") / "photos"
    with zipfile.ZipFile(_shared("data/photos_lt.zip")) as archive:
        archive.extractall(root, [n for n in archive.namelist() if n.endswith(".jpg") and n.split("/")[1] in CLASSES])
    return root


def run(*command):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_five_commands_of_the_page(folder, tmp_path):
    config, workdir = f"--config=configs/folder.py:gcl,{folder}", f"--workdir={tmp_path / 'run'}"
    small = override_flags(
        data__photos__size=32, data__photos__resize=36, model__name="resnet10", representation__epochs=3,
        classifier__epochs=2, representation__batch_size=32, classifier__batch_size=32,
    )  # fmt: skip
    assert "nothing wrong found" in run("gcl_jax.data", "inspect", config, "--decode")
    run("gcl_jax.main", config, workdir, *small)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["data"]["num_test"] == 25
    accuracy = result["final"]["test"]["accuracy"]
    run("gcl_jax.main", config, workdir, *small, "--eval_only")
    assert json.loads((tmp_path / "run" / "eval.json").read_text())["final"]["test"]["accuracy"] == accuracy
    images = sorted((folder / "test").rglob("*.jpg"))
    run("gcl_jax.predict", workdir, *images, f"--csv={tmp_path / 'found.csv'}")
    with (tmp_path / "found.csv").open() as file:
        first = [row for row in csv.DictReader(file) if row["rank"] == "1"]
    right = [row["class"] == os.path.basename(os.path.dirname(row["image"])) for row in first]
    assert 100 * np.mean(right) == pytest.approx(accuracy)
    run("gcl_jax.export", workdir, f"--out={tmp_path / 'exported'}")
    assert json.loads((tmp_path / "exported" / "model.json").read_text())["class_names"] == sorted(CLASSES)
    function = jax.export.deserialize(bytearray((tmp_path / "exported" / "model.stablehlo").read_bytes()))
    assert function.call(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 5)


@pytest.mark.parametrize("name", ["resnet50", "resnet152"])
def test_a_deep_network_takes_steps_at_224_pixels(folder, name):
    """Two real train steps of 4 photographs, in bfloat16 as the configs of large sets have it."""
    config = override(
        load_config("folder:gcl", str(folder)),
        {"model.name": name, "precision": "bf16", "representation.batch_size": 4},
    )
    validation.validate(config)
    stage = RunContext(config).stage("representation", 1)
    state, constants, _ = stage.start(0, None, "")
    before = np.array(state.params["backbone"]["layer4_0"]["conv2"]["kernel"])
    for block in stage.input_pipeline.blocks([0], 0, 0, [1, 1]):
        assert block["main"]["image"].shape == (1, 4, 224, 224, 3)
        state, metric_sums = stage.step(state, constants, block, np.int32(1))
    assert np.isfinite(metric_sums["loss"])
    assert np.abs(state.params["backbone"]["layer4_0"]["conv2"]["kernel"] - before).max() > 0
