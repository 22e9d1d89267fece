"""The pixels of a JPEG are Pillow's, to the bit: whole, in crops and wherever a photograph is classified."""

import ast
import io
import zipfile

import numpy as np
import pytest
from conftest import ROOT, _shared
from PIL import Image, ImageFile

decode = pytest.importorskip("gcl_jax.data.decode", reason="photographs need TensorFlow")

SIZES = ((64, 48), (97, 131), (1, 1), (7, 3), (3, 200), (17, 16))


def scene(height, width):
    """Waves of color with noise, so that both the transform and the upsampling of color show."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 17 + y / 31), np.cos(x / 9 - y / 23), np.sin(x * y / 900)], -1)
    noise = np.random.default_rng(height * width).normal(0, 20, (height, width, 3))
    return Image.fromarray(np.clip(128 + 100 * waves + noise, 0, 255).astype(np.uint8))


KINDS = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "4:1:1": {"subsampling": "4:1:1"},
    "progressive": {"progressive": True},
    "progressive 4:4:4": {"progressive": True, "subsampling": 0},
    "optimized": {"optimize": True},
    "restart markers by blocks": {"restart_marker_blocks": 3},
    "restart markers by rows": {"restart_marker_rows": 1},
    "of low quality": {"quality": 20},
    "of quality 100": {"quality": 100},
    "kept as RGB": {"keep_rgb": True},
    "gray": {"mode": "L"},
    "gray, progressive": {"mode": "L", "progressive": True},
    "CMYK": {"mode": "CMYK"},
    "CMYK, progressive": {"mode": "CMYK", "progressive": True},
    "with EXIF orientation": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
}


def jpeg(image, mode="RGB", **options):
    stream = io.BytesIO()
    image.convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def by_pillow(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_jpeg_is_decoded_as_pillow_does(kind, monkeypatch):
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 2**20)  # Pillow's writer gives too little to tiny images
    for height, width in SIZES:
        given = jpeg(scene(height, width), **KINDS[kind])
        np.testing.assert_array_equal(decode.decoded(given), by_pillow(given), err_msg=f"{height} x {width}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_is_the_whole_images_window(kind):
    """At its border too, where the colors of neighbors outside are interpolated."""
    numbers = np.random.default_rng(0)
    given = jpeg(scene(97, 131), **KINDS[kind])
    whole = by_pillow(given)
    windows = [(0, 0, 97, 131), (0, 0, 1, 1), (96, 130, 1, 1)]
    for _ in range(25):
        height, width = numbers.integers(1, 98), numbers.integers(1, 132)
        windows.append((numbers.integers(0, 98 - height), numbers.integers(0, 132 - width), height, width))
    for window in windows:
        found = decode.jpeg_window(given, decode.tf.io.extract_jpeg_shape(given), np.int32(window))
        top, left, height, width = window
        np.testing.assert_array_equal(found, whole[top : top + height, left : left + width], err_msg=str(window))


@pytest.mark.parametrize("kind", ["4:2:2", "4:2:0", "4:1:1", "progressive", "gray", "CMYK"])
@pytest.mark.parametrize("size", [(20, 34), (9, 13), (12, 2)])
def test_a_narrow_crop_is_the_whole_images_window(kind, size):
    """Of a few columns alone libjpeg would repeat the colors instead of interpolating them."""
    given, columns = jpeg(scene(*size), **KINDS[kind]), range(size[1])
    whole, shape = by_pillow(given), decode.tf.io.extract_jpeg_shape(given)
    for left, width in [(i, 1) for i in columns] + [(0, 2), (size[1] - 2, 2)]:
        found = decode.jpeg_window(given, shape, np.int32([3, left, 5, width]))
        np.testing.assert_array_equal(found, whole[3:8, left : left + width], err_msg=f"from {left}, {width} wide")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 5}, {"optimize": True}])
def test_black_in_cmyk_is_rounded_as_pillow_does(options):
    image = Image.merge("CMYK", [*scene(40, 50).split(), scene(50, 40).convert("L").resize((50, 40))])
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    given, window = stream.getvalue(), np.int32([2, 7, 30, 21])
    whole = by_pillow(given)
    np.testing.assert_array_equal(decode.decoded(given), whole)
    np.testing.assert_array_equal(decode.tf.function(decode.decoded)(decode.tf.constant(given)), whole)
    shape = decode.tf.io.extract_jpeg_shape(given)
    np.testing.assert_array_equal(decode.jpeg_window(given, shape, window), whole[2:32, 7:28])
    assert decode.problem(given) == ""
    assert decode.problem(given[: len(given) // 2]).startswith("cut off: copy or download it again")


def test_real_photographs_are_decoded_as_pillow_does():
    with zipfile.ZipFile(_shared("data/photos_lt.zip")) as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")][::60]
        for name in names:
            given = archive.read(name)
            np.testing.assert_array_equal(decode.decoded(given), by_pillow(given), err_msg=name)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (97, 131), (256, 300), (640, 481)])
def test_test_images_are_pillows_to_within_a_level(height, width):
    """From the bytes to the square: decoded, resized and cropped by Pillow instead."""
    given = jpeg(scene(height, width))
    image, shorter = Image.open(io.BytesIO(given)), min(height, width)
    image = image.resize((256 * width // shorter, 256 * height // shorter), Image.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    expected = np.asarray(image.crop((left, top, left + 224, top + 224))).astype(int)
    found = decode.center_crop(given, 224, 256).numpy().astype(int)
    assert np.abs(found - expected).max() <= 1
    assert abs((found - expected).mean()) < 0.05  # TensorFlow's own transform: more than one level in red and blue


def test_no_jpeg_is_decoded_elsewhere_or_by_another_transform():
    for file in (ROOT / "gcl_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("decode_jpeg", "decode_and_crop_jpeg", "decode_image"):
                assert file.name == "decode.py", file
            if isinstance(node, ast.Call) and "jpeg" in getattr(node.func, "attr", "") and "decode" in node.func.attr:
                assert "dct_method" in [keyword.arg for keyword in node.keywords], (file, node.lineno)
