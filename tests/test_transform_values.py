"""Every op against Pillow's on the same draws, in torchvision's and timm's order of calls."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from gcl_jax import rng
from gcl_jax.transforms import geometry, one_op
from gcl_jax.transforms.blur import gaussian_blur
from gcl_jax.transforms.color import color_jitter
from gcl_jax.transforms.random_resized_crop import random_windows
from gcl_jax.transforms.resize import Resize, resize_windows
from gcl_jax.transforms.rotation import Rotation

NUM = 6
SIZES = [(32, 32), (37, 52)]
RESAMPLE = [Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC]


@functools.cache
def images(height=32, width=32, channels=3):
    """Smooth colors with noise, NUM of them, not over the whole range of levels."""
    draws = np.random.default_rng(0)
    coarse = draws.integers(20, 230, (NUM, 5, 6, channels), np.uint8)
    large = [Image.fromarray(x.squeeze()).resize((width, height), Image.Resampling.BICUBIC) for x in coarse]
    smooth = np.stack([np.asarray(x).reshape(height, width, channels) for x in large]).astype(int)
    return np.clip(smooth + draws.integers(-9, 10, smooth.shape), 3, 250).astype(np.uint8)


def pillow(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def array(image, channels):
    return np.asarray(image).reshape(*np.asarray(image).shape[:2], channels)


def enhance(kind):
    return lambda image, value, *_: kind(image).enhance(value)


def affine(matrix):
    def run(image, value, resample, fill):
        return image.transform(image.size, Image.Transform.AFFINE, matrix(value, *image.size), resample, fillcolor=fill)

    return run


def solarize_add(image, value, *_):
    return image.point([min(255, i + int(value)) if i < 128 else i for i in range(256)] * len(image.getbands()))


# What timm, torchvision and the CIFAR code of AutoAugment call.
PILLOW = {
    "identity": lambda image, *_: image,
    "shear_x": affine(lambda v, w, h: (1, v, 0, 0, 1, 0)),
    "shear_y": affine(lambda v, w, h: (1, 0, 0, v, 1, 0)),
    "translate_x": affine(lambda v, w, h: (1, 0, v * w, 0, 1, 0)),
    "translate_y": affine(lambda v, w, h: (1, 0, 0, 0, 1, v * h)),
    "rotate": lambda image, value, resample, fill: image.rotate(value, resample, fillcolor=fill),
    "invert": lambda image, *_: ImageOps.invert(image),
    "posterize": lambda image, value, *_: image if value >= 8 else ImageOps.posterize(image, int(value)),
    "solarize": lambda image, value, *_: ImageOps.solarize(image, value),
    "solarize_add": solarize_add,
    "brightness": enhance(ImageEnhance.Brightness),
    "contrast": enhance(ImageEnhance.Contrast),
    "color": enhance(ImageEnhance.Color),
    "sharpness": enhance(ImageEnhance.Sharpness),
    "autocontrast": lambda image, *_: ImageOps.autocontrast(image),
    "equalize": lambda image, *_: ImageOps.equalize(image),
}
WARPS = one_op.KINDS[one_op.SHEAR_X : one_op.ROTATE + 1]
VALUES = {
    **dict.fromkeys(("shear_x", "shear_y"), (0.3, -0.3, 0.13, -0.21, 0.45, 0.05)),
    # Binary fractions: Pillow cuts fractions off, and its doubles make 41 or 42 of what is 42 on paper.
    **dict.fromkeys(("translate_x", "translate_y"), (0.3125, -0.296875, 0.1328125, -0.453125, 0.0, 0.0625)),
    "rotate": (30.0, -30.0, 7.5, -13.0, 29.3, 3.1),
    "posterize": (4, 1, 2, 3, 8, 7),
    "solarize": (256, 0, 128, 56.9, 255, 200),
    "solarize_add": (110, 0, 55, 7, 109, 100),
    **dict.fromkeys(("brightness", "contrast", "color", "sharpness"), (1.9, 0.1, 1.0, 0.55, 1.37, 0.0)),
}


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", one_op.KINDS)
def test_an_op_is_pillows(kind, size, channels):
    x, values = images(*size, channels), VALUES.get(kind, (0.0,) * NUM)
    fill = (124, 116, 104) if channels == 3 else 115
    for interpolation in range(3) if kind in WARPS else [0]:
        found = one_op.apply_ops(
            jnp.asarray(x),
            jnp.full(NUM, one_op.KINDS.index(kind)),
            jnp.asarray(values, jnp.float32),
            jnp.full(NUM, interpolation),
            fill=(124, 116, 104),
            taps=geometry.TAPS[interpolation],
        )
        expected = [
            array(PILLOW[kind](pillow(image), value, RESAMPLE[interpolation], fill), channels)
            for image, value in zip(x, values, strict=True)
        ]
        require_same(found, np.stack(expected))


def require_same(found, expected, *, part=0.004, levels=1):
    """All but a ``part`` of the pixels are the same bits, and of the others three in four within ``levels``.

    Where Pillow rounds or cuts off what its doubles have within an ulp of a whole level, float32 may be on the other
    side; nearest pixels may be the next ones.
    """
    found, expected = np.asarray(found).astype(int), np.asarray(expected).astype(int)
    assert found.shape == expected.shape
    apart = np.abs(found - expected)
    assert (apart > 0).mean() <= part
    assert (apart > levels).mean() <= part / 4


@pytest.mark.slow
def test_ops_of_one_batch_do_not_mix():
    """A batch of all kinds equals each alone, in the program for CPU and in that for accelerators."""
    x = jnp.asarray(np.concatenate([images()] * 3)[: len(one_op.KINDS)])
    kinds = jnp.arange(len(one_op.KINDS))
    values = jnp.asarray([VALUES.get(kind, (0.0,))[0] for kind in one_op.KINDS], jnp.float32)
    nearest = jnp.zeros_like(kinds)
    run = functools.partial(one_op.apply_ops, fill=0, taps=4)
    together = run(x, kinds, values, nearest)
    alone = [run(*(a[i : i + 1] for a in (x, kinds, values, nearest)))[0] for i in range(len(kinds))]
    np.testing.assert_array_equal(together, np.stack(alone))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_op.backend, "is_cpu", lambda: False)
        np.testing.assert_array_equal(run(x, kinds, values, nearest), together)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("highest", [2.0, 5.0])
def test_blur_is_pillows_to_the_bit(size, highest):
    x, sigmas = images(*size), np.linspace(0.1, highest, NUM).astype(np.float32)
    found = np.asarray(gaussian_blur(jnp.asarray(x), jnp.asarray(sigmas), highest))
    expected = [
        np.asarray(pillow(image).filter(ImageFilter.GaussianBlur(float(s)))) for image, s in zip(x, sigmas, strict=True)
    ]
    require_same(found, expected)


@pytest.mark.parametrize("size", [(24, 24), (64, 48), (37, 52)])
def test_resized_windows_are_pillows(size):
    x = images(37, 52)
    windows = np.array([[0, 0, 37, 52], [3, 5, 20, 30], [30, 40, 7, 12], [0, 10, 37, 9], [5, 0, 1, 52], [8, 8, 24, 24]])
    found = resize_windows(jnp.asarray(x), jnp.asarray(windows, jnp.float32), size)
    expected = [
        np.asarray(pillow(image[t : t + h, s : s + w]).resize(size[::-1], Image.Resampling.BILINEAR))
        for image, (t, s, h, w) in zip(x, windows, strict=True)
    ]
    require_same(found, expected, part=0.06)  # ratios of small numbers: halves, which Pillow rounds either way


@pytest.mark.parametrize(("size", "expected"), [(40, (40, 56)), (20, (20, 28))])
def test_resize_keeps_the_ratio(size, expected):
    found = Resize(size)(None, jnp.asarray(images(37, 52)), None)
    reference = [np.asarray(pillow(x).resize(expected[::-1], Image.Resampling.BILINEAR)) for x in images(37, 52)]
    require_same(found, reference, part=0.06)


def test_windows_are_torchvisions():
    """Its loop over ten tries, on the same uniforms."""
    height, width, scale, batch = 20, 60, (0.08, 1.0), 200
    key = jax.random.key(3)
    found = np.asarray(random_windows(key, batch, height, width, scale))
    areas = jax.random.uniform(rng.fold(key, "area"), (batch, 10), minval=scale[0], maxval=scale[1])
    ratios = jax.random.uniform(rng.fold(key, "ratio"), (batch, 10), minval=math.log(3 / 4), maxval=math.log(4 / 3))
    fallbacks = 0
    for own, area, ratio in zip(found, np.asarray(areas, float), np.asarray(ratios, float), strict=True):
        for a, r in zip(area, np.exp(ratio), strict=True):
            w, h = round(math.sqrt(a * height * width * r)), round(math.sqrt(a * height * width / r))
            if 0 < w <= width and 0 < h <= height:
                break
        else:
            h, w = height, round(height * 4 / 3)
            fallbacks += 1
            assert own.tolist() == [0, (width - w) // 2, h, w]
        assert own[2:].tolist() == [h, w]
        assert 0 <= own[0] <= height - h
        assert 0 <= own[1] <= width - w
    assert fallbacks


def test_jitter_with_hue_is_torchvisions():
    x, key, strengths, hue = images(32, 32), jax.random.key(4), (0.4, 0.4, 0.4), 0.1
    found = np.asarray(color_jitter(key, jnp.asarray(x), strengths, hue))
    factors = np.asarray(0.6 + 0.8 * jax.random.uniform(rng.fold(key, "factors"), (NUM, 3)))
    shifts = np.asarray(jax.random.uniform(rng.fold(key, "hue"), (NUM,), minval=-hue, maxval=hue))
    orders = [jax.random.permutation(k, 4).tolist() for k in jax.random.split(rng.fold(key, "order"), NUM)]
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    assert len({order.index(3) for order in orders}) > 1
    expected = []
    for image, factor, shift, order in zip(x, factors, shifts, orders, strict=True):
        made = pillow(image)
        for kind in order:
            made = kinds[kind](made).enhance(float(factor[kind])) if kind < 3 else shifted(made, shift)
        expected.append(np.asarray(made))
    # Pillow cuts fractions off after each enhancement; here they are kept, and the hue's sectors make them more.
    assert np.abs(found - np.stack(expected)).mean() < 1.5
    assert np.quantile(np.abs(found - np.stack(expected)), 0.99) < 6


def shifted(image, shift):
    """torchvision's adjust_hue."""
    hue, saturation, value = image.convert("HSV").split()
    moved = (np.asarray(hue).astype(int) + int(shift * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(moved.astype(np.uint8)), saturation, value)).convert("RGB")


def test_hue_alone_is_torchvisions():
    x, shifts = images(32, 32), np.array([-0.5, -0.1, 0.0, 0.02, 0.1, 0.5], np.float32)
    from gcl_jax.transforms.hue import shift_hue

    found = shift_hue(jnp.asarray(x, jnp.float32), jnp.asarray(shifts))
    expected = [np.asarray(shifted(pillow(image), s)) for image, s in zip(x, shifts, strict=True)]
    require_same(found, expected, part=0.01, levels=6)


@pytest.mark.parametrize("size", SIZES)
def test_rotation_is_torchvisions(size):
    x, key = images(*size), jax.random.key(1)
    angles = jax.random.uniform(rng.fold(key, "angle"), (NUM,), minval=-15, maxval=15)
    found = Rotation(15)(key, jnp.asarray(x), None)
    expected = [np.asarray(pillow(image).rotate(float(a), RESAMPLE[0])) for image, a in zip(x, angles, strict=True)]
    require_same(found, expected)
