"""Crop, flip and normalization, pixel by pixel.

Random statistics are tested at 1e-6 each, four of them: a family-wise error rate of 4e-6, with fixed keys.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import relative_error

from gcl_jax import config, rng
from gcl_jax.config.transforms import build_transforms, default_pipelines
from gcl_jax.methods.base import Method, Stream
from gcl_jax.transforms import StageTransforms
from gcl_jax.transforms.color import color_jitter, random_grayscale
from gcl_jax.transforms.crop import random_crop
from gcl_jax.transforms.flip import random_flip

ERROR = 1e-6
NUM, SIZE, PADDING = 4000, 12, 4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def defaults(padding, flip, mean, std, views=1):
    """What the keys of ``data`` make of a stream."""
    data = {"crop_padding": padding, "flip": flip, "source": "digits"}
    return StageTransforms(mean, std, {"main": default_pipelines(data, Stream(views=views))})


def images(num=NUM, seed=0):
    """Random uint8 images whose first channel tells every pixel's own place, 1 .. 144."""
    pixels = np.random.default_rng(seed).integers(0, 256, (num, SIZE, SIZE, 3), np.uint8)
    pixels[..., 0] = np.arange(1, SIZE * SIZE + 1).reshape(SIZE, SIZE)
    return pixels


@pytest.fixture(scope="module")
def cropped():
    return np.asarray(random_crop(jax.random.key(0), jnp.asarray(images()), PADDING))


def offsets(cropped):
    """Where each window began in the padded image, [NUM, 2], read from the pixel in its middle."""
    place = cropped[:, SIZE // 2, SIZE // 2, 0].astype(int) - 1
    return np.stack(np.divmod(place, SIZE), 1) + PADDING - SIZE // 2


def test_crop_is_a_window_of_the_zero_padded_image(cropped):
    padded = np.pad(images(), ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    windows = [x[r : r + SIZE, c : c + SIZE] for x, (r, c) in zip(padded, offsets(cropped), strict=True)]
    assert cropped.dtype == np.uint8
    assert np.array_equal(cropped, windows)


def test_every_offset_occurs_equally_often(cropped):
    side = 2 * PADDING + 1
    rows, columns = offsets(cropped).T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, side - 1, 0, side - 1)
    found = np.bincount(rows * side + columns, minlength=side**2)
    assert found.min() > 0
    assert scipy.stats.chisquare(found).pvalue > ERROR


def test_neighbours_in_a_batch_are_cropped_independently(cropped):
    rows = offsets(cropped)[:, 0]
    assert scipy.stats.pearsonr(rows[::2], rows[1::2]).pvalue > ERROR


@pytest.fixture(scope="module")
def flipped():
    return np.asarray(random_flip(jax.random.key(0), jnp.asarray(images())))


def is_mirrored(flipped):
    return flipped[:, 0, 0, 0] == SIZE


def test_flip_is_the_mirror_image_or_the_image(flipped):
    mirrored = is_mirrored(flipped)[:, None, None, None]
    assert flipped.dtype == np.uint8
    assert np.array_equal(flipped, np.where(mirrored, images()[:, :, ::-1], images()))


def test_half_of_the_images_are_flipped(flipped):
    assert scipy.stats.binomtest(int(is_mirrored(flipped).sum()), NUM, 0.5).pvalue > ERROR


def test_crop_and_flip_are_independent():
    out = np.asarray(
        defaults(PADDING, True, (0.0,) * 3, (1 / 255,) * 3).train(
            "main", jax.random.key(0), jnp.asarray(images()), None
        )
    )
    middle = np.rint(out[:, SIZE // 2, SIZE // 2 - 1 : SIZE // 2 + 1, 0])
    flip, row = middle[:, 1] < middle[:, 0], (middle[:, 0] - 1) // SIZE
    table = [np.bincount(row[flip == f].astype(int), minlength=SIZE) for f in (False, True)]
    table = np.array(table)[:, np.sum(table, 0) > 0]
    assert table.shape == (2, 2 * PADDING + 1)
    assert scipy.stats.chi2_contingency(table).pvalue > ERROR


AUGMENT = defaults(PADDING, True, MEAN, STD)


def test_normalisation_formula():
    x = images(5)
    expected = (x.astype(np.float64) / 255 - np.array(MEAN)) / np.array(STD)
    found = AUGMENT.evaluate(jnp.asarray(x))
    assert found.dtype == jnp.float32
    assert relative_error(found, expected) <= 1e-6


def test_one_channel_is_normalised_alike():
    x = images(5)[..., :1]
    found = defaults(0, False, (0.5,), (0.25,)).evaluate(jnp.asarray(x))
    assert relative_error(found, (x / 255 - 0.5) / 0.25) <= 1e-6


def test_evaluation_neither_crops_nor_flips():
    x = jnp.asarray(images(5))
    assert jnp.array_equal(AUGMENT.evaluate(x), defaults(0, False, MEAN, STD).evaluate(x))


def test_without_crop_and_flip_training_sees_what_evaluation_sees():
    x = jnp.asarray(images(5))
    plain = defaults(0, False, MEAN, STD)
    assert jnp.array_equal(plain.train("main", jax.random.key(0), x, None), plain.evaluate(x))


def test_padding_is_black_before_normalisation():
    """Black is -mean / std; zeros after normalization would be the mean's gray."""
    white = jnp.full((200, SIZE, SIZE, 3), 255, jnp.uint8)
    found = np.asarray(AUGMENT.train("main", jax.random.key(0), white, None))
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        np.testing.assert_allclose(np.unique(found[..., channel]), [-mean / std, (1 - mean) / std], rtol=1e-5)


def test_one_view_has_no_axis_of_its_own():
    assert AUGMENT.train("main", jax.random.key(0), jnp.asarray(images(5)), None).shape == (5, SIZE, SIZE, 3)


def test_views_are_stacked_and_differ():
    views = defaults(PADDING, True, MEAN, STD, 3).train("main", jax.random.key(0), jnp.asarray(images(50)), None)
    assert views.shape == (3, 50, SIZE, SIZE, 3)
    same = [int((views[a] == views[b]).all((1, 2, 3)).sum()) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert max(same) < 10  # one image in 162 by chance


def test_another_view_does_not_change_the_first():
    x = jnp.asarray(images(5))
    assert jnp.array_equal(
        defaults(PADDING, True, MEAN, STD, 2).train("main", jax.random.key(0), x, None)[0],
        AUGMENT.train("main", jax.random.key(0), x, None),
    )


def test_training_is_a_function_of_the_key():
    x = jnp.asarray(images(50))
    first, again, other = (AUGMENT.train("main", jax.random.key(k), x, None) for k in (1, 1, 2))
    assert jnp.array_equal(first, again)
    assert not jnp.array_equal(first, other)


@pytest.mark.parametrize("source", ["digits", "folder"])
def test_without_keys_the_draws_are_those_of_old(source):
    """The names that keys are folded with are a file format; so is the order of the ops."""

    class Gray(Method):
        def streams(self):
            return {"main": Stream(views=2, grayscale=0.5)}

    made = config.experiment(stages={"s": config.stage(config.method("cross_entropy"), config.sampler("instance"))})
    made.data.source, made.data.photos.color_jitter = source, (0.4, 0.3, 0.2)
    x, key, t = jnp.asarray(images(20)), jax.random.key(7), None
    found = jax.jit(lambda k, x: build_transforms(made, "s", Gray()).train("main", k, x, t))(key, x)

    def view(key, x):
        x = random_flip(rng.fold(key, "flip"), random_crop(rng.fold(key, "crop"), x, 4))
        x = color_jitter(rng.fold(key, "jitter"), x, (0.4, 0.3, 0.2)) if source == "folder" else x
        x = random_grayscale(rng.fold(key, "grayscale"), x, 0.5)
        return (x.astype(jnp.float32) / 255 - jnp.asarray(made.data.mean)) / jnp.asarray(made.data.std)

    expected = jax.jit(lambda k, x: jnp.stack([view(rng.fold(k, v), x) for v in range(2)]))(key, x)
    np.testing.assert_array_equal(found, expected)
