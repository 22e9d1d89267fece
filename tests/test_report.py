"""The embedding report: numbers against closed forms, and a picture of real runs."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure
from tiny import digits, override

from gcl_jax import models, trained
from gcl_jax.checkpoints import checkpoint
from gcl_jax.data import digits as digits_source
from gcl_jax.errors import UserError
from gcl_jax.report import __main__ as command
from gcl_jax.report import embedding, embedding_report, figure
from gcl_jax.training import experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")


def square():
    """Four classes at the corners of a square of side 1, two images each at 0.1 on either side of the corner."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    aside = np.array([0.1, 0.0])
    features = np.concatenate([corners + aside, corners - aside])
    return embedding.Embedding(features, np.tile(np.arange(4), 2), np.array([10, 5, 2, 1]), tuple("abcd"))


def test_distances_are_those_of_a_square():
    found = embedding.describe(square())
    assert found["images"] == 8
    for half, classes in (("head", ["a", "b"]), ("tail", ["c", "d"])):
        assert found[half]["classes"] == classes
        assert found[half]["between"] == pytest.approx(1.0)
        assert found[half]["nearest"] == pytest.approx(1.0)
        assert found[half]["spread"] == pytest.approx(0.1)
    assert found["head_to_tail"] == pytest.approx((2 * 1 + 2 * 2**0.5) / 4)
    assert [c["training_images"] for c in found["per_class"]] == [10, 5, 2, 1]
    # Every image is 0.2 from its twin; those facing the next corner are 0.8 and 1 from its pair, the others 1 and 1.2.
    near = (np.mean([0.8, 1.0]) - 0.2) / np.mean([0.8, 1.0])
    far_up = (np.mean([1.0, np.hypot(0.2, 1.0)]) - 0.2) / np.mean([1.0, np.hypot(0.2, 1.0)])
    assert found["silhouette"] == pytest.approx((near + far_up) / 2)


def test_one_image_a_class_has_no_silhouette():
    alone = embedding.Embedding(np.eye(3), np.arange(3), np.array([3, 2, 1]), tuple("abc"))
    found = embedding.describe(alone)
    assert found["silhouette"] is None
    assert embedding_report.table({"one": found}).splitlines()[2].split()[:2] == ["one", "-"]


def test_the_sample_has_as_many_of_each_class():
    labels = np.repeat(np.arange(5), [9, 3, 7, 8, 20])
    chosen = embedding.sample(labels, 20)
    assert np.bincount(labels[chosen]).tolist() == [4, 3, 4, 4, 4]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, quick_compilation):
    """One run of two stages, and one of two seeds."""
    root = tmp_path_factory.mktemp("runs")
    # Seed 1, for in seed 0's first step a ReLU's input is 0 up to rounding, which takes the programs apart.
    short = {"representation.epochs": 1, "classifier.epochs": 1, "seed": 1}
    experiment.run(override(digits(), short), root / "one")
    experiment.run(override(digits(), short | {"num_seeds": 2, "stages": ("representation",)}), root / "two")
    return root


def test_features_are_the_networks_on_the_test_set(runs):
    found = embedding.read(str(runs / "one"))
    assert found.features.shape == (500, 64)
    np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1)
    assert found.counts.tolist() == [124, 74, 44, 26, 16, 9, 5, 3, 2, 1]
    source = digits_source.read("digits", "", {})
    np.testing.assert_array_equal(found.labels, source.test.labels)
    config, own, _ = trained.locate(str(runs / "one"))
    variables, _, step = checkpoint.read_variables(own / "representation" / "checkpoints")
    images = (source.test.images[:64] / np.float32(255) - np.float32(0.3)) / np.float32(0.37)
    network = models.build("resnet8", config.representation.head, 10)
    known = {name: variables[name] for name in ("params", "batch_stats")}
    expected = np.asarray(network.apply(known, images.astype(np.float32), train=False)["features"])
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.features[:64], expected, atol=1e-5)
    assert found.source == {"folder": str(runs / "one"), "stage": "representation", "step": step}
    again = embedding.read(str(runs / "one"), "classifier")  # stage 2 keeps the representation
    np.testing.assert_array_equal(found.features, again.features)
    first_seed = embedding.read(str(runs / "two"))
    np.testing.assert_allclose(first_seed.features, found.features, atol=1e-5)


def test_the_command_writes_picture_and_numbers(runs, tmp_path, capsys):
    flags = [f"--workdir={runs / 'one'}", f"--workdir={runs / 'two'}", "--label=A", "--label=B", f"--out={tmp_path}"]
    command.main(["embedding", *flags, "--images=50"])
    numbers = json.loads((tmp_path / "embedding.json").read_text())
    assert list(numbers) == ["A", "B"]
    assert (tmp_path / "embedding.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert f"{numbers['A']['silhouette']:.3f}" in shown
    assert f"B: representation of {runs / 'two' / 'seed_1'}, step {numbers['B']['step']}" in shown


def test_runs_of_other_data_do_not_stand_side_by_side():
    one, other = square(), square()
    embedding.require_one_data_set([("a", one), ("b", other)])
    changed = dataclasses.replace(other, counts=np.array([9, 5, 2, 1]), fingerprint="other")
    with pytest.raises(UserError, match=r"a and b are of other data .* 10 to 1 images, 4 classes of 9 to 1 images"):
        embedding.require_one_data_set([("a", one), ("b", changed)])


def test_a_run_whose_data_have_changed_is_not_drawn(runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "one")
    file = tmp_path / "one" / "config.json"
    known = json.loads(file.read_text())
    known["training"]["data_fingerprint"] = "of other images"
    file.write_text(json.dumps(known))
    with pytest.raises(UserError, match="are not what they were when it was trained"):
        embedding.read(str(tmp_path / "one"))


def test_a_place_that_cannot_be_written_is_named_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^error: .*file could not be written"):
        command.main(["embedding", "--workdir=nowhere", f"--out={tmp_path / 'file'}"])


@pytest.mark.parametrize("classes", [10, pytest.param(12, marks=pytest.mark.slow)])
def test_many_classes_have_a_scale_of_colours_instead_of_a_legend(tmp_path, monkeypatch, classes):
    shown, draw_scale = [], Figure.colorbar
    monkeypatch.setattr(Figure, "legend", lambda self, *args, **kwargs: shown.append("legend"))
    monkeypatch.setattr(Figure, "colorbar", lambda *args, **kw: (shown.append("scale"), draw_scale(*args, **kw))[1])
    rng = np.random.default_rng(0)
    many = embedding.Embedding(
        rng.normal(size=(60, 4)), np.arange(60) % classes, np.arange(classes, 0, -1), tuple("abcdefghijkl")[:classes]
    )
    figure.draw([("many", many)], tmp_path / "x.png", images=60)
    assert (tmp_path / "x.png").stat().st_size > 1000
    assert shown == ["legend" if classes == 10 else "scale"]
    figure.draw([("equal", dataclasses.replace(many, counts=np.full(classes, 7)))], tmp_path / "y.png", images=60)
    assert shown[1:] == (["legend"] if classes == 10 else [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: REPORT, --workdir"),
        (["embedding"], "the following arguments are required: --workdir"),
        (["embeding", "--workdir=a"], r"the report is 'embeding' .did you mean"),
        (["embedding", "--workdir=a", "--workdir=a"], "different for each run"),
        (["embedding", "--workdir=a", "--label=x", "--label=y"], "once for each --workdir"),
    ],
)
def test_a_wrong_command_ends_in_one_line(arguments, message):
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        command.main(arguments)


def test_a_folder_that_is_no_run_is_named(runs, tmp_path):
    with pytest.raises(UserError, match=r"holds no config\.json: name the folder of a run"):
        embedding.read(str(tmp_path))
    with pytest.raises(UserError, match="holds no checkpoint of classifier"):
        embedding.read(str(runs / "two"), "classifier")
