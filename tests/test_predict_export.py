"""After training: classes of image files, and the network as one file; both say what evaluation said."""

import csv
import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import digits

from gcl_jax import export, predict, trained
from gcl_jax.errors import UserError
from gcl_jax.training import experiment

pytest.importorskip("tensorflow", reason="images are decoded by TensorFlow")
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def run(tmp_path_factory, quick_compilation):
    """One epoch of each stage, tau of logit adjustment on, and the test images as PNG files."""
    root = tmp_path_factory.mktemp("run")
    config = digits(representation__epochs=1, classifier__epochs=1, posthoc__logit_adjustment=0.5)
    experiment.run(config, str(root / "work"))
    from gcl_jax.data.digits import read

    images = read("digits", "").test.images
    for i, image in enumerate(images[:150]):
        (root / "images").mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(root / "images" / f"{i:03}.png")
    return root, images


def evaluated(root, stage="classifier"):
    with np.load(root / "work" / stage / "predictions_test.npz") as found:
        return {name: found[name] for name in found.files}


def test_predictions_are_those_of_the_evaluation(run):
    root, _ = run
    found = predict.predict(trained.read(str(root / "work")), sorted((root / "images").iterdir()))
    expected = evaluated(root)
    assert found.argmax(1).tolist() == expected["predicted"][:150].tolist()
    np.testing.assert_allclose(found.max(1), expected["confidence"][:150], rtol=1e-4)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    first = predict.predict(trained.read(str(root / "work"), "representation"), sorted((root / "images").iterdir())[:9])
    np.testing.assert_allclose(first.max(1), evaluated(root, "representation")["confidence"][:9], rtol=1e-4)


def test_csv_and_print(run, capsys):
    root, _ = run
    target = root / "found.csv"
    predict.main([f"--workdir={root / 'work'}", str(root / "images"), "--top=3", f"--csv={target}"])
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 150
    by_image = [float(row["probability"]) for row in rows[:3]]
    assert by_image == sorted(by_image, reverse=True)
    assert [row["class"] for row in rows[::3]] == [str(j) for j in evaluated(root)["predicted"][:150]]
    capsys.readouterr()
    predict.main([f"--workdir={root / 'work'}", str(root / "images" / "000.png"), "--top=2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "000.png" in lines[0]
    assert "%" in lines[1]


def test_any_size_and_colour_is_classified(run):
    root, images = run
    large = Image.new("RGB", (96, 64))  # its middle square is the digit
    large.paste(Image.fromarray(images[0][..., 0]).convert("RGB").resize((64, 64), Image.NEAREST), (16, 0))
    large.save(root / "large.bmp")
    found = predict.predict(trained.read(str(root / "work")), [root / "large.bmp"])
    assert found.argmax(1).tolist() == [evaluated(root)["predicted"][0]]


def test_arrays_of_the_size_of_photographs_are_not_made_smaller_first(run):
    root, _ = run
    network = trained.read(str(root / "work"))
    assert network.config.data.source == "digits"
    network.config.data.photos.size = network.image_shape[0]
    assert network.resize == network.image_shape[0]
    network.config.data.source = "folder"
    assert network.resize == network.config.data.photos.resize


def test_files_that_are_no_image_are_named_and_the_others_answered(run, tmp_path):
    root, _ = run
    folder = tmp_path / "images"
    for name in ("b.png", ".hidden.png", ".thumbnails/b.png", "n\udcff.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "images" / "000.png", folder / name)
    (folder / "a.png").write_text("no image")
    (folder / "folder.jpg").mkdir()
    frames = [Image.fromarray(np.full((40, 40, 3), level, np.uint8)) for level in (10, 200)]
    frames[0].save(folder / "c.webp", save_all=True, append_images=frames[1:])
    target = tmp_path / "found.csv"
    target.write_text("of before")
    with pytest.raises(SystemExit) as ended:
        predict.main([f"--workdir={root / 'work'}", str(folder), "--top=1", f"--csv={target}"])
    told = str(ended.value)
    assert "2 of 4 files have no answer" in told
    assert "a.png is no image that can be read" in told
    assert "c.webp is no image that can be read (an animated WebP is not read" in told
    with target.open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == [f"{folder}/b.png", rf"{folder}/n\udcff.png"]


@pytest.mark.parametrize(("target", "told"), [("/dev/full", "No space left"), (".", "Is a directory")])
def test_a_table_that_cannot_be_written_is_one_error(run, target, told):
    root, _ = run
    arguments = [f"--workdir={root / 'work'}", str(root / "images" / "000.png"), f"--csv={target}"]
    with pytest.raises(SystemExit, match=rf"{target} (cannot|could not) be written \({told}"):
        predict.main(arguments)


@pytest.mark.parametrize("kind", ["missing", "no image", "empty folder", "no run", "stage", "top", "csv"])
def test_what_is_wrong_is_named(run, tmp_path, kind):
    root, _ = run
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    workdir, image = f"--workdir={root / 'work'}", str(root / "images" / "000.png")
    arguments, message = {
        "missing": ([workdir, "nowhere.png"], "there is no image nowhere.png"),
        "no image": ([workdir, str(tmp_path / "text.png")], "text.png is no image that can be read"),
        "empty folder": ([workdir, str(tmp_path / "empty")], "holds no image"),
        "no run": ([f"--workdir={tmp_path}", image], "holds no config.json"),
        "stage": ([workdir, image, "--stage=second"], "holds no checkpoint of second"),
        "top": ([workdir, image, "--top=0"], "--top is 0"),
        "csv": ([workdir, image, "--csv=nowhere/x.csv"], "--csv=nowhere/x.csv: there is no folder nowhere"),
    }[kind]
    with pytest.raises(SystemExit, match=re.escape(message)):
        predict.main(arguments)


def test_the_exported_function_is_the_network_for_any_batch(run):
    root, images = run
    export.main([f"--workdir={root / 'work'}", f"--out={root / 'exported'}"])
    function = jax.export.deserialize(bytearray((root / "exported" / "model.stablehlo").read_bytes()))
    expected = evaluated(root)
    for batch in (1, 3, 150):
        found = np.asarray(function.call(images[:batch]))
        assert found.shape == (batch, 10)
        assert found.argmax(1).tolist() == expected["predicted"][:batch].tolist()
        np.testing.assert_allclose(found.max(1), expected["confidence"][:batch], rtol=1e-4)
    about = json.loads((root / "exported" / "model.json").read_text())
    assert about["class_names"] == [str(j) for j in range(10)]
    assert about["input"] == {"dtype": "uint8", "shape": ["batch", 8, 8, 1]}
    assert set(function.platforms) == {"cpu", "cuda", "tpu"}


def test_export_names_what_it_cannot_write(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemExit, match=r"--out=.*file cannot be written"):
        export.main([f"--workdir={run[0] / 'work'}", f"--out={tmp_path / 'file'}"])


def test_a_stage_in_training_is_taken_only_by_name(run, tmp_path):
    shutil.copytree(run[0] / "work", tmp_path / "work")
    (tmp_path / "work" / "classifier" / "DONE.json").unlink()
    assert trained.read(str(tmp_path / "work")).stage == "representation"
    assert trained.read(str(tmp_path / "work"), "classifier").stage == "classifier"
    (tmp_path / "work" / "representation" / "DONE.json").unlink()
    with pytest.raises(UserError, match="holds no finished stage"):
        trained.read(str(tmp_path / "work"))


def test_a_network_of_oblong_images_is_no_network_for_files(run):
    network = dataclasses.replace(trained.read(str(run[0] / "work")), image_shape=(8, 12, 1))
    with pytest.raises(UserError, match="8 x 12 pixels, and files are cropped to squares only"):
        predict.predict(network, [run[0] / "images" / "000.png"])


def test_the_config_of_an_older_version_is_read(run, tmp_path):
    """One that lacks keys which newer versions have, in every kind of block."""
    shutil.copytree(run[0] / "work", tmp_path / "work")
    text = json.loads((tmp_path / "work" / "config.json").read_text())
    del text["config"]["data"]["photos"], text["config"]["model"]["remat"], text["config"]["classifier"]["bn_scope"]
    del text["config"]["classifier"]["method"]["cloud_size"], text["config"]["debug_nans"]
    (tmp_path / "work" / "config.json").write_text(json.dumps(text))
    ours, theirs = (trained.read(str(folder / "work")).config.to_dict() for folder in (tmp_path, run[0]))
    assert json.loads(json.dumps(ours)) == json.loads(json.dumps(theirs))  # JSON has no tuples


def test_a_checkpoint_without_what_it_was_trained_on_is_refused(run, monkeypatch):
    root, _ = run
    read = trained.checkpoint.read_variables
    monkeypatch.setattr(trained.checkpoint, "read_variables", lambda folder: (read(folder)[0], {}, 0))
    with pytest.raises(UserError, match="lacks class_names, class_counts, image_shape: train it again"):
        trained.read(str(root / "work"))
