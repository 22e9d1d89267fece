"""An exported network is used without gcl_jax: model.json says all that a program of somebody else needs."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, SHARED
from PIL import Image
from tiny import load_config

from gcl_jax import export, models, predict, trained

decode = pytest.importorskip("gcl_jax.data.decode", reason="images are decoded by TensorFlow")

JPEG = pytest.mark.skipif(not hasattr(decode, "DCT"), reason="JPEG is decoded by another DCT than Pillow's")
NAMES = ("ant", "bee", "cat", "dog")


class Linear(nn.Module):
    """A backbone that compiles at once: every pixel has a say in each of its features."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, *, train):
        del train
        return models.Features(pooled=nn.Dense(8, name="dense")(images.reshape(images.shape[0], -1)) / 8)


def network(size=32, resize=36, channels=3):
    """An untrained network of four classes."""
    config = load_config("photos_lt:ce", "somewhere")
    config.model.name = "linear"
    config.data.photos.update(size=size, resize=resize)
    config.data.source = "folder" if channels == 3 else "arrays"
    config.data.update(mean=(0.48, 0.45, 0.41)[:channels], std=(0.23, 0.22, 0.24)[:channels])
    built = models.build("linear", "linear", len(NAMES), np.float32)
    variables = built.init(jax.random.key(0), np.zeros((1, size, size, channels), np.float32), train=False)
    made = ({"params": variables["params"]}, {})
    counts = np.array([9, 7, 5, 3])
    return trained.Trained(config, "representation", made, NAMES, counts, (size, size, channels), 0)


@pytest.fixture(scope="module", params=[3, pytest.param(1, marks=pytest.mark.slow)], ids=["RGB", "gray"])
def exported(request, tmp_path_factory):
    """A network and the folder that it is exported to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.BACKBONES, "linear", Linear)
        folder, made = tmp_path_factory.mktemp("exported"), network(channels=request.param)
        (folder / "model.stablehlo").write_bytes(export.serialized(made))
        (folder / "model.json").write_text(json.dumps(export.description(made), default=list))
        yield made, folder


def by_the_words_of(about, file):
    """uint8[H, W, c] of a file, written from nothing but what model.json says."""
    assert about["layout"].startswith("NHWC")
    assert about["exif_orientation"].startswith("ignored")
    image = np.asarray(Image.open(file).convert("RGB"), np.float32)
    assert about["longest"].startswith("of an image more than 8 times as long as wide the middle 8 times")
    most = 8 * min(image.shape[:2])
    for axis in (0, 1):
        cut = max(image.shape[axis] - most, 0)
        image = np.take(image, range(cut // 2, cut // 2 + image.shape[axis] - cut), axis)
    shorter, (height, width) = about["resize_shorter_side"], image.shape[:2]
    rows, columns = (shorter * n // min(height, width) for n in (height, width))
    planes = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(3)]
    resized = np.dstack([np.asarray(plane.resize((columns, rows), Image.BILINEAR)) for plane in planes])
    tall, wide = about["center_crop"]
    top, left = round((rows - tall) / 2), round((columns - wide) / 2)
    pixels = np.floor(resized[top : top + tall, left : left + wide] + 0.5)
    if about["channel_order"] != "RGB":
        assert "0.299 R + 0.587 G + 0.114 B" in about["channel_order"]
        pixels = np.round(pixels @ [0.299, 0.587, 0.114])[..., None]
    return pixels.astype(about["input"]["dtype"])


def files(folder, suffix, modes, **options):
    """Images of several sizes and kinds of pixels, smooth as photographs are."""
    generator, written = np.random.default_rng(0), []
    for mode in modes:
        for width, height in ((40, 60), (333, 97), (36, 36), (9, 14), (201, 200), (33, 401)):
            coarse = Image.fromarray(generator.integers(0, 256, (5, 5, 4), np.uint8), "RGBA")
            image = coarse.resize((width, height), Image.BICUBIC)
            written.append(folder / f"{mode}_{width}{suffix}")
            image.convert("RGB" if mode != "RGBA" else mode).convert(mode).save(written[-1], **options)
    return written


def compare(made, folder, paths):
    """The three ways to an answer: `predict`, the words of model.json, and its lines of Python."""
    about = json.loads((folder / "model.json").read_text())
    expected = predict.predict(made, paths)
    function = jax.export.deserialize((folder / "model.stablehlo").read_bytes())
    pixels = np.stack([by_the_words_of(about, path) for path in paths])
    found = np.asarray(function.call(pixels))
    np.testing.assert_allclose(found, expected, atol=2e-3)  # a level in one of some thousand pixels
    near = np.sort(expected)[:, -1] - np.sort(expected)[:, -2] < 4e-3
    assert (found.argmax(1) == expected.argmax(1))[~near].all()
    assert len(about["python"]) == 6
    os.chdir(folder)
    names = {"FILE": paths[0]}
    exec("\n".join(about["python"]), names)
    np.testing.assert_allclose(names["probabilities"], found[0], atol=1e-6)


@pytest.fixture
def here():
    """The folder of before, which `compare` leaves."""
    before = os.getcwd()
    yield
    os.chdir(before)


@pytest.mark.usefixtures("here")
def test_a_loader_written_from_model_json_gives_the_answers_of_predict(exported, tmp_path):
    paths = files(tmp_path, ".png", ("RGB", "L", "P", "RGBA", "1")) + files(tmp_path, ".bmp", ("RGB",))
    paths += files(tmp_path, ".webp", ("RGB",), lossless=True) + files(tmp_path, ".gif", ("P",))
    compare(*exported, paths)


@JPEG
@pytest.mark.usefixtures("here")
def test_the_same_for_every_kind_of_jpeg(exported, tmp_path):
    paths = files(tmp_path, ".jpg", ("RGB", "L", "CMYK"), quality=85)
    compare(*exported, paths + files(tmp_path, ".jpeg", ("RGB",), quality=90, progressive=True, subsampling=0))


@JPEG
@pytest.mark.usefixtures("here")
def test_the_same_on_real_photographs(exported, tmp_path):
    pack = SHARED / "data" / "photos_lt.zip"
    if not pack.exists():
        pytest.skip("photos_lt.zip is not beside the repository (../shared)")
    with zipfile.ZipFile(pack) as archive:
        named = sorted(name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg")))[::80]
        compare(*exported, [tmp_path / archive.extract(name, tmp_path) for name in named])


@pytest.mark.usefixtures("here")
def test_a_turned_photograph_is_taken_as_it_is_stored(exported, tmp_path):
    made, folder = exported
    (plain,) = files(tmp_path, ".png", ("RGB",))[:1]
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.open(plain).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(*predict.predict(made, [plain, tmp_path / "turned.png"]))
    compare(made, folder, [tmp_path / "turned.png"])


def test_model_json_names_everything(exported):
    made, folder = exported
    about = json.loads((folder / "model.json").read_text())
    assert about["class_names"] == list(NAMES)
    assert about["normalization"]["mean"] == list(made.config.data.mean)
    assert about["normalization"]["std"] == list(made.config.data.std)
    assert about["value_range"] == [0, 255]
    assert about["requires"][:2] == ["jax", "flatbuffers"]
    for key in ("decoder", "resize_filter", "channel_order", "layout", "exif_orientation", "center_crop_from", "stage"):
        assert about[key], key
    assert {"islow", "first frame"} <= {word for word in ("islow", "first frame") if word in about["decoder"]}


BLOCKED = """
import sys

ALLOWED = {"jax", "jaxlib", "flatbuffers", "numpy", "PIL", "ml_dtypes", "opt_einsum", "scipy", *sys.stdlib_module_names}

class Only:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ALLOWED or name.startswith("_sysconfigdata"):
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Only, sys.meta_path)
"""


def test_jax_and_flatbuffers_are_enough(exported, tmp_path):
    """In a process that finds nothing else but numpy, Pillow and what jax itself requires."""
    made, folder = exported
    if made.image_shape[2] == 1:
        pytest.skip("one process is enough")
    (path,) = files(tmp_path, ".png", ("RGB",))[:1]
    about = json.loads((folder / "model.json").read_text())
    code = "\n".join([BLOCKED, f"FILE = {str(path)!r}", *about["python"], "print(json.dumps(probabilities.tolist()))"])
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), predict.predict(made, [path])[0], atol=2e-3)


def test_without_flatbuffers_the_command_says_so(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "flatbuffers" else there(name, *a)
    )
    with pytest.raises(SystemExit, match=r"^error: .*flatbuffers, which is not installed: pip install flatbuffers$"):
        export.main(["--workdir=nowhere", "--out=nowhere"])


def test_what_export_needs_is_declared():
    for file in ("pyproject.toml", "requirements.txt"):
        assert "flatbuffers>=2" in (ROOT / file).read_text()
    assert "jax and flatbuffers are enough" in " ".join(export.__doc__.split())
