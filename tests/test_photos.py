"""Photographs: what is decoded, where it is cropped, and that batches are a pure function of the plan."""

import gc
import io
import math
import re
import shutil
import weakref
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import _shared
from ml_collections import ConfigDict
from photographs import config_of, equal, four_classes, trained_on
from PIL import Image, ImageEnhance
from tiny import load_config, override

from gcl_jax import config as config_lib
from gcl_jax import data, rng
from gcl_jax.config import validation
from gcl_jax.data import image_kind
from gcl_jax.data.files import Files
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh
from gcl_jax.training import experiment
from gcl_jax.training.run_context import RunContext
from gcl_jax.transforms import StageTransforms, pipeline
from gcl_jax.transforms.color import color_jitter

decode = pytest.importorskip("gcl_jax.data.decode", reason="photographs need TensorFlow")

import tensorflow as tf  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation")


def picture(seed=0, height=120, width=160):
    """Colored squares, so that an error of place shows."""
    colors = np.random.default_rng(seed).integers(0, 256, (height // 20, width // 20, 3))
    return Image.fromarray(np.kron(colors, np.ones((20, 20, 1))).astype(np.uint8))


def encoded(image, kind="JPEG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def window_by_torchvision(height, width, u):
    """RandomResizedCrop.get_params, from the same numbers."""
    for i in range(decode.TRIES):
        area = height * width * (0.08 + 0.92 * u[i])
        ratio = math.exp(math.log(3 / 4) + math.log(16 / 9) * u[decode.TRIES + i])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return [int(u[-2] * (height - h + 1)), int(u[-1] * (width - w + 1)), h, w]
    if width / height < 3 / 4:
        w, h = width, round(width / (3 / 4))
    elif width / height > 4 / 3:
        w, h = round(height * (4 / 3)), height
    else:
        w, h = width, height
    return [(height - h) // 2, (width - w) // 2, h, w]


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (64, 64), (40, 900), (900, 40), (1, 7)])
def test_windows_are_torchvisions(height, width):
    numbers = np.random.default_rng(0).random((200, decode.CROP_NOISE_SIZE), np.float32)
    found = np.array([decode.random_window(height, width, u).numpy() for u in numbers])
    expected = np.array([window_by_torchvision(height, width, u.tolist()) for u in numbers])
    # float32 and float64 round a few sides, and with them places, to the other pixel.
    assert (np.abs(found - expected) <= 1).all()
    assert (found == expected).all(1).mean() > 0.95
    assert (found[:, :2] >= 0).all()
    assert (found[:, 0] + found[:, 2] <= height).all()
    assert (found[:, 1] + found[:, 3] <= width).all()
    if height > 40 and width > 40:
        assert len({tuple(row) for row in found}) > 150


KINDS = {
    "jpeg": lambda: encoded(picture()),
    "progressive jpeg": lambda: encoded(picture(), progressive=True),
    "gray jpeg": lambda: encoded(picture().convert("L")),
    "CMYK jpeg": lambda: encoded(picture().convert("CMYK")),
    "png": lambda: encoded(picture(), "PNG"),
    "png with alpha": lambda: encoded(picture().convert("RGBA"), "PNG"),
    "png with a palette": lambda: encoded(picture().convert("P"), "PNG"),
    "png of 1 bit": lambda: encoded(picture().convert("1"), "PNG"),
    "gif": lambda: encoded(picture().convert("P"), "GIF"),
    "bmp": lambda: encoded(picture(), "BMP"),
    "webp": lambda: encoded(picture(), "WEBP", lossless=True),
    "webp with alpha": lambda: encoded(picture().convert("RGBA"), "WEBP", lossless=True),
    "png of gray and alpha": lambda: encoded(picture().convert("LA"), "PNG"),
    "gray bmp": lambda: encoded(picture().convert("L"), "BMP"),
    "bmp with alpha": lambda: encoded(picture().convert("RGBA"), "BMP"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_formats_are_what_pillow_sees(kind):
    given = KINDS[kind]()
    expected = np.asarray(Image.open(io.BytesIO(given)).convert("RGB")).astype(int)
    found = decode.decoded(given).numpy().astype(int)
    assert np.abs(found - expected).mean() < 1.5  # JPEG decoders differ by a level
    for size in (64, 224):
        assert decode.center_crop(given, size, size * 8 // 7).shape == (size, size, 3)
        assert decode.random_resized_crop(given, tf.fill([decode.CROP_NOISE_SIZE], 0.4), size).dtype == tf.uint8


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_looked_at_and_what_is_read_agree(kind):
    given = KINDS[kind]()
    assert decode.problem(given) == ""
    assert image_kind.identify(given).reason == ""


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (encoded(picture().convert("P"), "BMP"), "BMP with a palette"),
        (encoded(picture().convert("1"), "BMP"), "BMP with a palette"),
        # TensorFlow 2.21 writes beyond its memory, and the process dies.
        (encoded(picture(), "WEBP", save_all=True, append_images=[picture(1)]), "an animated WebP is not read"),
        (encoded(picture(), "TIFF"), "."),
        (encoded(picture())[:-2000], "."),
        (encoded(picture(), "PNG")[:-100], "."),
    ],
)
def test_what_is_not_read_is_refused_by_both(given, reason):
    assert re.search(reason, decode.problem(given))
    assert re.search(reason, image_kind.identify(given).reason)


def test_a_strip_is_cut_before_it_is_resized():
    """1 x 3000 pixels would become 256 x 768,000."""
    strip = Image.fromarray(np.arange(3000, dtype=np.uint16).astype(np.uint8)[None])
    assert decode.center_crop(encoded(strip, "PNG"), 224, 256).shape == (224, 224, 3)


def test_sixteen_bits_become_eight():
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    found = decode.decoded(encoded(Image.fromarray(levels * 257), "PNG")).numpy()
    np.testing.assert_array_equal(found, np.repeat(levels[..., None], 3, 2))


def test_the_test_crop_is_pillows(tmp_path):
    """Resize the shorter side, then crop the center: a level from Pillow's antialiased bilinear on average."""
    for height, width in ((375, 500), (500, 333), (240, 240)):
        image = picture(1, height // 20 * 20, width // 20 * 20)
        width, height = image.size
        shorter = min(width, height)
        resized = image.resize((256 * width // shorter, 256 * height // shorter), Image.BILINEAR)
        left, top = round((resized.width - 224) / 2), round((resized.height - 224) / 2)
        expected = np.asarray(resized.crop((left, top, left + 224, top + 224))).astype(int)
        found = decode.center_crop(encoded(image, "PNG"), 224, 256).numpy().astype(int)
        assert np.abs(found - expected).mean() < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_train_crop_is_the_window_resized(kind):
    given = encoded(picture(2, 400, 600), kind)
    whole = Image.open(io.BytesIO(given)).convert("RGB")
    for u in np.random.default_rng(3).random((8, decode.CROP_NOISE_SIZE), np.float32):
        top, left, h, w = decode.random_window(400, 600, u).numpy().tolist()
        for size in (64, 224):
            box = (left, top, left + w, top + h)
            expected = np.asarray(whole.resize((size, size), Image.BILINEAR, box=box)).astype(int)
            found = decode.random_resized_crop(given, u, size).numpy().astype(int)
            assert np.abs(found - expected).mean() < 6  # edges are a little sharper, nothing is elsewhere
            shifted = np.roll(expected, size // 16, axis=1)
            assert np.abs(found - expected).mean() < np.abs(found - shifted).mean() / 2


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twelve photographs of three classes, in three formats and many sizes."""
    root = tmp_path_factory.mktemp("photographs")
    paths = []
    for i in range(12):
        kind = ("jpeg", "png", "bmp")[i % 3]
        paths.append(f"{i % 3}/{i}.{kind}")
        (root / paths[-1]).parent.mkdir(exist_ok=True)
        picture(i, 60 + 20 * i, 100).save(root / paths[-1])
    return root, np.array(paths), np.arange(12) % 3


def loader(root, paths, labels, size=32):
    part = data.Split(Files(str(root), paths, size), labels.astype(np.int32))
    dataset = data.Dataset("photographs", {"train": part, "test": part}, ("a", "b", "c"), np.arange(len(labels)))
    return data.make_loader("host", dataset, mesh.make_mesh(jax.devices()[:1]), resize=40)


def crop_noise(views=1, seeds=0):
    def of(stream, row):
        shape = (*((seeds,) if seeds else ()), 4, views, decode.CROP_NOISE_SIZE)
        return rng.numpy_generator(0, stream, row).random(shape, np.float32)

    return of


PLAN = np.array([[0, 1, 2, 3], [4, 5, 6, 0], [11, 10, 9, 8]], np.int32)


def test_batches_are_the_plans_images_cropped_by_the_draws(photographs):
    root, paths, labels = photographs
    found = list(loader(*photographs).rows("train", {"main": PLAN}, crop_noise()))
    assert len(found) == 3
    for step, row in enumerate(found):
        assert row["main"]["label"].tolist() == labels[PLAN[step]].tolist()
        numbers = crop_noise()("main", step)
        for slot, i in enumerate(PLAN[step]):
            expected = decode.random_resized_crop((root / paths[i]).read_bytes(), numbers[slot, 0], 32).numpy()
            np.testing.assert_array_equal(row["main"]["image"][slot], expected)
    # Image 0 stands twice in the plan, in different crops.
    assert (found[0]["main"]["image"][0] != found[1]["main"]["image"][3]).any()


def test_nothing_is_kept_of_an_epoch_that_is_over(photographs):
    many, seen = loader(*photographs), []
    for stop_after in (1, 3):
        own = crop_noise()
        seen.append(weakref.ref(own))
        rows = many.rows("train", {"main": PLAN}, own)
        for _ in range(stop_after):
            next(rows)
        rows.close()
        del own, rows
    gc.collect()
    assert [ref() for ref in seen] == [None, None]


def test_views_streams_and_seeds_have_axes_of_their_own(photographs):
    many = loader(*photographs)
    two = next(many.rows("train", {"main": PLAN, "other": PLAN[::-1]}, crop_noise(views=2)))
    assert two["main"]["image"].shape == (4, 2, 32, 32, 3)
    assert (two["main"]["image"][:, 0] != two["main"]["image"][:, 1]).any()
    images, labels = many.fetch({}, jax.tree.map(jnp.asarray, two["main"]))
    assert images.shape == (2, 4, 32, 32, 3)
    np.testing.assert_array_equal(images[1], two["main"]["image"][:, 1])
    assert labels.shape == (4,)
    by_seed = np.stack([PLAN, PLAN[::-1]], axis=1)
    several = next(many.rows("train", {"main": by_seed}, crop_noise(seeds=2)))
    assert several["main"]["image"].shape == (2, 4, 32, 32, 3)
    assert several["main"]["label"].tolist() == photographs[2][by_seed[0]].tolist()


def test_evaluation_crops_the_centre(photographs):
    root, paths, _ = photographs
    row = next(loader(*photographs).rows("test", {"eval": PLAN}))
    for slot, i in enumerate(PLAN[0]):
        expected = decode.center_crop((root / paths[i]).read_bytes(), 32, 40).numpy()
        np.testing.assert_array_equal(row["eval"]["image"][slot], expected)


@pytest.mark.parametrize(
    ("bad", "reason"), [(b"", "empty file"), (b"no image", "Unknown image"), (encoded(picture())[:900], "Invalid JPEG")]
)
def test_an_unreadable_image_is_named(photographs, tmp_path, bad, reason):
    root, paths, labels = photographs
    (tmp_path / "bad.jpg").write_bytes(bad)
    given = np.array([*(f"{root}/{path}" for path in paths[:7]), "bad.jpg", *(f"{root}/{path}" for path in paths[8:])])
    plan = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.int32)
    rows = loader(tmp_path, given, labels).rows("train", {"main": plan}, crop_noise())
    next(rows)
    with pytest.raises(UserError, match=rf"bad\.jpg cannot be read \(.*{reason}.*inspect --decode"):
        next(rows)


def test_photographs_are_not_for_the_device(photographs):
    root, paths, labels = photographs
    part = data.Split(Files(str(root), paths, 32), labels)
    dataset = data.Dataset("photographs", {"train": part, "test": part}, ("a", "b", "c"), np.arange(12))
    with pytest.raises(UserError, match="set it to 'host'"):
        data.make_loader("device", dataset, mesh.make_mesh())


def test_colour_jitter_is_pillows():
    """The same factors in the same order through ImageEnhance, which rounds after each."""
    images = np.stack([np.asarray(picture(i, 40, 40)) for i in range(12)])
    key = jax.random.key(5)
    strengths = (0.4, 0.4, 0.4)
    found = color_jitter(key, jnp.asarray(images), strengths)
    factors = 0.6 + 0.8 * jax.random.uniform(rng.fold(key, "factors"), (12, 3))
    keys = jax.random.split(rng.fold(key, "order"), 12)
    orders = np.array([jax.random.permutation(k, 3) for k in keys])
    assert len({tuple(order) for order in orders.tolist()}) > 2
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for image, own, order, ours in zip(images, np.asarray(factors), orders, found, strict=True):
        expected = Image.fromarray(image)
        for kind in order:
            expected = kinds[kind](expected).enhance(float(own[kind]))
        np.testing.assert_allclose(ours, np.asarray(expected, np.float32), atol=3.5)


def test_jitter_of_strength_zero_changes_nothing_and_each_kind_is_in_its_range():
    images = jnp.asarray(np.stack([np.asarray(picture(i, 40, 40)) for i in range(50)]))
    np.testing.assert_allclose(color_jitter(jax.random.key(0), images, (0.0, 0.0, 0.0)), images, atol=1e-3)
    gray = jnp.full((50, 4, 4, 3), 100, jnp.uint8)
    lighter = np.asarray(color_jitter(jax.random.key(0), gray, (0.4, 0.0, 0.0)))[:, 0, 0, 0]
    assert 60 <= lighter.min() < 70
    assert 130 < lighter.max() <= 140


def test_views_that_a_loader_cropped_are_augmented_each():
    steps = pipeline("flip|color_jitter(0.4, 0.4, 0.4)")
    augment = StageTransforms((0.0,) * 3, (1.0,) * 3, {"main": (steps, steps)})
    cropped = jnp.asarray(np.stack([np.full((3, 8, 8, 3), 50), np.full((3, 8, 8, 3), 200)]).astype(np.uint8))
    found = augment.train("main", jax.random.key(0), cropped, None)
    assert found.shape == (2, 3, 8, 8, 3)
    assert found[0].mean() < 0.35 < found[1].mean()
    np.testing.assert_allclose(augment.evaluate(cropped[0]), 50 / 255, rtol=1e-6)


@pytest.fixture(scope="module")
def photos_lt(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos_lt")
    with zipfile.ZipFile(_shared("data/photos_lt.zip")) as archive:
        archive.extractall(root)
    return root


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return four_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="module")
def from_list(classes, tmp_path_factory, quick_compilation):
    folder = tmp_path_factory.mktemp("from_list") / "run"
    return *trained_on(config_of(classes, "list"), folder), folder


@pytest.mark.slow
def test_both_stages_train_from_a_list_and_from_its_folder_alike(classes, from_list, tmp_path):
    """One index plan, one set of crops: equal bit for bit."""
    result, expected, _ = from_list
    assert result["data"]["class_counts"] == [9, 7, 5, 3]
    assert result["final"]["test"]["num_examples"] == 8
    _, found = trained_on(config_of(classes, "folder"), tmp_path / "run")
    equal(found, expected)


def test_a_run_that_was_cut_goes_on_bit_for_bit(classes, from_list, tmp_path):
    """After the first epoch of each stage; and what the second would have drawn is drawn."""
    _, expected, _ = from_list
    for stage, folder in (("representation", tmp_path / "first"), ("classifier", tmp_path / "second")):
        shutil.copytree(from_list[2], folder)
        names = ("representation", "classifier") if stage == "representation" else ("classifier",)
        for name in names:
            (folder / name / "DONE.json").unlink()
        if stage == "representation":
            shutil.rmtree(folder / "classifier")
        (folder / "result.json").unlink()
        checkpoints = sorted((folder / stage / "checkpoints").iterdir(), key=lambda p: int(p.name))
        assert len(checkpoints) > 1
        shutil.rmtree(checkpoints[-1])
        _, found = trained_on(config_of(classes, "list"), folder)
        equal(found, expected)


def test_bad_images_are_skipped_and_counted_or_stop_the_run(classes, tmp_path):
    shutil.copytree(classes, tmp_path / "photos")
    for path in ("train/ant/3.jpg", "train/ant/5.jpg", "test/bee/8.jpg"):
        (tmp_path / "photos" / path).write_bytes(b"damaged")
    config = config_of(tmp_path / "photos", "folder", stages=("representation",))
    every = r"3 images cannot be decoded: .*on_bad_image=skip\n.*ant.3.jpg(.|\n)*bee.8.jpg"
    with pytest.raises(UserError, match=every):
        experiment.run(config, str(tmp_path / "run"))
    skipping = override(config, {"data.photos.on_bad_image": "skip"})
    result = experiment.run(skipping, str(tmp_path / "skipping"))
    assert result["data"]["skipped"] == {"train": 2, "test": 1}
    assert result["data"]["class_counts"] == [7, 7, 5, 3]
    assert result["final"]["test"]["num_examples"] == 7


@pytest.mark.slow
def test_a_method_of_two_views_sees_two_crops(classes, tmp_path):
    config = config_of(classes, "list", stages=("representation",), representation__epochs=1)
    config.representation.method, config.representation.head = ConfigDict(config_lib.method("hybrid_sc")), "projection"
    assert math.isfinite(experiment.run(config, str(tmp_path / "run"))["final"]["test"]["nll"])


def test_the_classes_of_real_photographs(photos_lt, tmp_path):
    """1,887 and 505 photographs of 101 classes, of which a few are gray: a batch of each kind of crop."""
    config = load_config("photos_lt:gcl", str(photos_lt))
    validation.validate(config)
    parts = RunContext(config)
    assert (len(parts.dataset.splits["train"]), len(parts.dataset.splits["test"])) == (1887, 505)
    assert (parts.dataset.counts.max(), parts.dataset.counts.min()) == (60, 3)
    stage = parts.stage("representation", 1)
    block = next(stage.input_pipeline.blocks([0], 0, 0, [1]))
    assert block["main"]["image"].shape == (1, 64, 64, 64, 3)
    assert 60 < np.asarray(block["main"]["image"]).mean() < 200
    row = next(parts.loader.rows("test", {"eval": np.arange(64, dtype=np.int32)[None]}))
    assert row["eval"]["image"].std(axis=(1, 2, 3)).min() > 5
