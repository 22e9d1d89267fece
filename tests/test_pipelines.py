"""Pipelines as text: what is read, what is refused, and which keys the ops draw with."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gcl_jax import rng, transforms
from gcl_jax.errors import UserError
from gcl_jax.transforms import MIXES, TRANSFORMS, ImageTransform, mix, pipeline
from gcl_jax.transforms.crop import random_crop
from gcl_jax.transforms.cutout import Cutout

ERROR = 1e-6  # of each random statistic, of which there are four
WIDE = "crop(4)|flip|color_jitter(0.4, 0.4, 0.4, 0.1, p=0.8)|grayscale(0.2)|blur(0.1, 2.0, 0.5)|cutout(6)|rotation(15)"
POLICIES = "autoaugment('imagenet')|autoaugment|randaugment(2, 9)|timm_randaugment(2, 10)"
SIZES = "random_resized_crop(12, 0.2)|resize(20)|center_crop(16)"


def images(num=8, channels=3, size=16):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (num, size, size, channels), np.uint8))


def run(text, key, x):
    return jax.jit(lambda key, x: pipeline(text)(key, x, None))(key, x)


def test_options_by_place_and_by_name():
    assert pipeline("color_jitter(0.4, hue=0.1)").steps == (transforms.TRANSFORMS["color_jitter"](0.4, hue=0.1),)
    assert pipeline(" flip | crop ") == pipeline("flip(0.5)|crop(padding=4)")
    assert pipeline("").steps == ()
    assert pipeline("apply(1, flip|crop(2))").steps[0].pipeline == pipeline("flip|crop(2)")
    assert mix("cutmix(0.5, p=0.3)") == MIXES["cutmix"](0.5, 0.3)
    assert mix("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop(4)|flop", r"a transform is 'flop' \(did you mean 'flip'\?\); choose one of crop, flip, "),
        ("crop(4", "cannot be read; write NAME or NAME"),
        ("crop(4),flip", "is no transform; write NAME"),
        ("crop(4)|'flip'", "'flip' is no transform"),
        ("crop(4, 5)", "crop has 2 values; it takes padding$"),
        ("crop(paddding=4)", r"crop has no 'paddding' \(did you mean 'padding'\?\); it takes padding$"),
        ("crop(4, padding=5)", "crop is given padding twice"),
        ("crop(**{'padding': 4})", "crop has no None"),
        ("crop(0)", r"crop: padding is 0; it must lie in \[1, 256\]"),
        ("crop(4.5)", "crop: padding is 4.5; it must be an int"),
        ("crop(2+2)", r"crop.padding is '2 \+ 2'; it must be a constant"),
        ("crop(__import__('os').system('true'))", "must be a constant"),
        ("(lambda: 1)()", "is no transform"),
        ("os.system('true')", "is no transform"),
        ("flip(float('nan'))", "must be a constant"),
        ("flip(1e999)", "give a finite number"),
        ("autoaugment('cifar')", r"policy is 'cifar' \(did you mean 'cifar10'\?\); choose one of cifar10, imagenet"),
        ("autoaugment(10)", "autoaugment.policy is 10; it must be a str"),
        ("blur(2.0, 1.0)", "low is 2.0; it must be at most high, 1.0"),
        ("apply(0.5, flop)", "a transform is 'flop'"),
        ("(" * 5000, "cannot be read"),
        ("flip\0", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(UserError, match=message) as error:
        pipeline(text, "config.s.transforms.main[0]")
    assert str(error.value).startswith("config.s.transforms.main[0]")
    assert len(str(error.value)) < 400


def test_every_op_has_defaults_and_a_docstring():
    for registry in (TRANSFORMS, MIXES):
        for name, cls in registry.items():
            assert isinstance(cls(), cls), name
            assert not (cls.__doc__ or f"{cls.__name__}(").startswith(f"{cls.__name__}("), name  # dataclass's own


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("text", [WIDE, POLICIES, SIZES, "choose(crop(2)|flip, apply(0.5, cutout(4)), p=0.5)"])
def test_shapes_and_dtypes_under_jit(text, channels):
    for x in (images(channels=channels), images(channels=channels).astype(jnp.float32)):
        found = run(text, jax.random.key(0), x)
        assert found.shape == (8, 16, 16, channels)
        assert found.dtype == (jnp.float32 if "jitter" in text else x.dtype)
        assert 0 <= float(found.min()) <= float(found.max()) <= 255


def test_images_are_drawn_for_one_by_one():
    """An image's result is its own: the others of the batch do not matter."""
    x = images()
    other = x.at[1:].set(255 - x[1:])
    for text in (WIDE, POLICIES, SIZES):
        first, second = (run(text, jax.random.key(3), batch) for batch in (x, other))
        np.testing.assert_array_equal(first[0], second[0])


def test_a_repeated_op_draws_anew_and_moves_no_other():
    x, key = images(), jax.random.key(1)
    twice = pipeline("crop(2)|flip|crop(2)")(key, x, None)
    flipped = pipeline("crop(2)|flip")(key, x, None)
    np.testing.assert_array_equal(twice, random_crop(rng.fold(key, "crop", 1), flipped, 2))


def test_an_op_from_outside_is_registered():
    @dataclasses.dataclass(frozen=True)
    class Invert(ImageTransform):
        def __call__(self, key, images, t):
            return 255 - images

    TRANSFORMS.register("invert_of_a_test", Invert)
    try:
        np.testing.assert_array_equal(run("invert_of_a_test", jax.random.key(0), images()), 255 - images())
    finally:
        del TRANSFORMS["invert_of_a_test"]


def test_cutout_is_one_square_clipped_at_the_border():
    white = jnp.full((4000, 16, 16, 1), 255, jnp.uint8)
    holes = np.asarray(Cutout(6)(jax.random.key(0), white, None))[..., 0] == 0
    rows, columns = holes.any(2), holes.any(1)
    np.testing.assert_array_equal(holes, rows[:, :, None] & columns[:, None, :])
    expected = {min(16, c + 3) - max(0, c - 3) for c in range(16)}
    assert set(rows.sum(1).tolist()) == set(columns.sum(1).tolist()) == expected
    # Centers are uniform over the pixels: 0..3 begin at row 0, each other one at its own.
    starts = np.bincount(rows.argmax(1), minlength=13)
    assert scipy.stats.chisquare(starts, 4000 / 16 * np.array([4] + [1] * 12)).pvalue > ERROR


@pytest.mark.parametrize("text", ["flip({})", "apply({}, flip(1.0))", "choose(flip(1.0), flip(0.0), p={})"])
def test_a_probability_is_a_part_of_the_images(text):
    x = jnp.tile(jnp.arange(2, dtype=jnp.uint8)[None, None, :, None], (4000, 1, 1, 1))
    flipped = np.asarray(run(text.format(0.3), jax.random.key(2), x))[:, 0, 0, 0] == 1
    assert scipy.stats.binomtest(int(flipped.sum()), 4000, 0.3).pvalue > ERROR


def test_two_sizes_in_one_choice_are_refused():
    with pytest.raises(UserError, match="choose gives images of 8 x 8 and 16 x 16; both must be of one size"):
        pipeline("choose(center_crop(8), flip)")(jax.random.key(0), images(), None)
