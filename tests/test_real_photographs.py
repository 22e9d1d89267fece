"""101 classes of real photographs: both stages from a list, the folder and a pack; and a run that was cut."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from conftest import _shared
from tiny import load_config, override

from gcl_jax.checkpoints import checkpoint
from gcl_jax.data import folder, pack
from gcl_jax.training import experiment
from gcl_jax.training.run_context import RunContext

pytest.importorskip("tensorflow", reason="photographs are decoded by TensorFlow")
pytestmark = pytest.mark.slow

EPOCHS = {"representation": 2, "classifier": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The photographs, and beside the published lists others in the folder's order of classes and files."""
    root = tmp_path_factory.mktemp("photos_lt")
    with zipfile.ZipFile(_shared("data/photos_lt.zip")) as archive:
        archive.extractall(root)
    for part in ("train", "test"):
        paths = sorted(line.split()[0] for line in (root / f"photos_lt_{part}.txt").read_text().splitlines())
        labels = {name: label for label, name in enumerate(sorted(os.listdir(root / "train")))}
        lines = [f"{path} {labels[path.split('/')[1]]}" for path in paths]
        (root / f"ordered_{part}.txt").write_text("\n".join(lines))
    return root


def config_of(root, source, **own):
    config = load_config("photos_lt:gcl", str(root))
    values = {"data.source": source, "data.photos.size": 32, "data.photos.resize": 36, "checkpoint.every_steps": 20}
    for part in ("train", "test"):
        values[f"data.photos.{part}_list"] = f"{root}/ordered_{part}.txt" if source == "list" else ""
    return override(config, values | {f"{stage}.epochs": n for stage, n in EPOCHS.items()} | own)


def state(workdir):
    return {stage: checkpoint.read(workdir / stage / "checkpoints")[0] for stage in EPOCHS}


def same(found, expected):
    for stage, arrays in expected.items():
        assert found[stage].keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[stage][name], array, err_msg=f"{stage}: {name}")


@pytest.fixture(scope="module")
def from_list(root, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("from_list")
    experiment.run(config_of(root, "list"), str(workdir))
    return workdir, state(workdir)


@pytest.mark.parametrize("source", ["folder", "packed"])
def test_one_plan_and_one_result_from_every_source(root, from_list, tmp_path, source):
    config = config_of(root, "folder")
    if source == "packed":
        pack.pack(folder.read("photos_lt", str(root), config.data.photos.to_dict()), str(tmp_path / "pack"))
        config = config_of(root, "packed", **{"data.path": str(tmp_path / "pack")})
    plans = []
    for each in (config_of(root, "list"), config):
        parts = RunContext(each)
        plans.append([parts.stage(name, 1).input_pipeline.plan(0, 0)["main"] for name in EPOCHS])
    for theirs, ours in zip(*plans, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    result = experiment.run(config, str(tmp_path / "run"))
    assert (result["data"]["num_train"], result["data"]["num_test"]) == (1887, 505)
    same(state(tmp_path / "run"), from_list[1])


def test_a_cut_run_goes_on_bit_for_bit(root, from_list, tmp_path):
    """In the middle of an epoch of the first stage, whose last checkpoint is gone and the second stage with it."""
    workdir, expected = from_list
    cut = tmp_path / "cut"
    shutil.copytree(workdir, cut)
    for gone in ("representation/DONE.json", "result.json"):
        (cut / gone).unlink()
    shutil.rmtree(cut / "classifier")
    steps = sorted((cut / "representation" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    assert [int(path.name) for path in steps] == [40, 58]
    shutil.rmtree(steps[-1])
    experiment.run(config_of(root, "list"), str(cut))
    same(state(cut), expected)
