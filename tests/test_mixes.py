"""Mixup, CutMix and CMO: values of their authors' code, closed forms, and statistics.

Random statistics are tested at 1e-6 each, two of them.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import _shared

from gcl_jax import longtail, rng
from gcl_jax.sampling.weighted import InverseFrequency
from gcl_jax.transforms import cutmix, mix

ERROR = 1e-6
SIZE = 16


@pytest.fixture(scope="module")
def reference():
    with np.load(_shared("reference/beyond/experts.npz")) as npz:
        return {key: npz[key] for key in npz.files if key.startswith("cmo/")}


def batch(views=(), seed=0, num=12):
    draws = np.random.default_rng(seed)
    image = jnp.asarray(draws.normal(size=(*views, num, SIZE, SIZE, 3)), jnp.float32)
    return {"image": image, "label": jnp.asarray(draws.integers(0, 10, num), jnp.int32)}


def at(epoch, epochs=200):
    return types.SimpleNamespace(epoch=jnp.int32(epoch), epochs=jnp.int32(epochs))


def run(text, batches, key=0, t=None):
    return jax.jit(lambda key, batches: mix(text)(key, batches, t or at(100)))(jax.random.key(key), batches)


@pytest.mark.parametrize("text", ["mixup(1.0)", "cutmix(1.0)", "mixup_or_cutmix()", "cmo(p=1.0)"])
@pytest.mark.parametrize("views", [(), (2,)])
def test_what_every_mix_gives(text, views):
    batches = {"main": batch(views), "other": batch(seed=2)}
    given = {**batches, "foreground": batch(views, seed=1)} if "cmo" in text else batches
    found = run(text, given)
    assert set(found) == {"main", "other"}
    np.testing.assert_array_equal(found["other"]["image"], batches["other"]["image"])
    main = found["main"]
    np.testing.assert_array_equal(main["label"], batches["main"]["label"])
    (first, weight), (second, rest) = main["targets"]
    np.testing.assert_array_equal(first, main["label"])
    assert (second.shape, second.dtype) == (first.shape, jnp.int32)
    assert float(weight + rest) == 1
    assert 0 <= float(weight) <= 1
    assert (main["image"].shape, main["image"].dtype) == (batches["main"]["image"].shape, jnp.float32)


def test_mixup_is_the_mean_that_its_weights_say():
    x = batch()
    main = run("mixup(1.0)", {"main": x})["main"]
    order = jax.random.permutation(rng.fold(jax.random.key(0), "permutation"), 12)
    (_, lam), (labels, _) = main["targets"]
    np.testing.assert_array_equal(labels, x["label"][order])
    np.testing.assert_allclose(main["image"], lam * x["image"] + (1 - lam) * x["image"][order], rtol=1e-5, atol=1e-6)


def test_cutmix_pastes_one_box_and_weighs_its_area():
    x = batch()
    main = run("cutmix(1.0)", {"main": x}, key=3)["main"]
    order = jax.random.permutation(rng.fold(jax.random.key(3), "permutation"), 12)
    (_, weight), (labels, _) = main["targets"]
    np.testing.assert_array_equal(labels, x["label"][order])
    moved = order != jnp.arange(12)
    pasted = np.asarray((main["image"] != x["image"]).any(-1))[np.asarray(moved)]
    assert pasted.any()
    np.testing.assert_array_equal(pasted, pasted[:1].repeat(len(pasted), 0))
    rows, columns = pasted[0].any(1), pasted[0].any(0)
    np.testing.assert_array_equal(pasted[0], rows[:, None] & columns)
    np.testing.assert_allclose(weight, 1 - pasted[0].sum() / SIZE**2, rtol=1e-6)
    np.testing.assert_array_equal(main["image"], np.where(pasted[0][..., None], x["image"][order], x["image"]))


@pytest.mark.parametrize("side", [32, 224])
def test_boxes_are_cmos(reference, side):
    uniforms = reference[f"cmo/box/{side}/uniforms_lam_x_y"]
    for (lam, u, v), corners, corrected in zip(
        uniforms,
        reference[f"cmo/box/{side}/x1_y1_x2_y2"],
        reference[f"cmo/box/{side}/lam_corrected"],
        strict=True,
    ):
        inside, area = cutmix.box(jnp.float32(lam), jnp.array([u, v], jnp.float32), side, side)
        expected = np.zeros((side, side), bool)
        x1, y1, x2, y2 = corners
        expected[x1:x2, y1:y2] = True
        np.testing.assert_array_equal(inside, expected)
        np.testing.assert_allclose(1 - area / side**2, corrected, rtol=1e-6)


@pytest.mark.parametrize(
    ("dataset", "size", "classes", "ratio"), [("c10_if100", 5000, 10, 100), ("c100_if50", 500, 100, 50)]
)
@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_foregrounds_are_drawn_as_cmos(reference, dataset, size, classes, ratio, exponent):
    counts = longtail.exponential_counts(size, classes, ratio)
    found = InverseFrequency(exponent).class_probabilities(counts)
    name = f"cmo/sampler/{dataset}/alpha{exponent:g}/class_probability"
    np.testing.assert_allclose(found, reference[name], rtol=1e-9)
    assert mix(f"cmo({exponent})").streams()["foreground"].sampler == InverseFrequency(exponent)


def test_cmo_is_active_in_its_epochs(reference):
    batches = {"main": batch(), "foreground": batch(seed=1)}
    step = jax.jit(lambda key, epoch: mix("cmo(p=1.0)")(key, batches, at(epoch))["main"])
    keys = jax.random.split(jax.random.key(0), 8)
    for epoch, active in enumerate(reference["cmo/active_epochs_200"]):
        if epoch in (0, 3, 4, 5, 100, 195, 196, 197, 198, 199):
            mixed = [step(key, jnp.int32(epoch)) for key in keys]
            assert any(bool((x["image"] != batches["main"]["image"]).any()) for x in mixed) == bool(active)
            if not active:
                assert [tuple(float(w) for _, w in x["targets"]) for x in mixed] == [(1.0, 0.0)] * 8


def test_a_box_comes_from_the_image_at_the_same_place():
    below, above = batch(), batch(seed=1)
    main = run("cmo(p=1.0)", {"main": below, "foreground": above}, key=2)["main"]
    from_above = np.asarray(main["image"] == above["image"]).all(-1)
    from_below = np.asarray(main["image"] == below["image"]).all(-1)
    assert (from_above ^ from_below).all()
    np.testing.assert_array_equal(main["targets"][1][0], above["label"])


def test_half_of_cmos_batches_are_mixed():
    batches = {"main": batch(num=1), "foreground": batch(num=1, seed=1)}
    draw = jax.jit(jax.vmap(lambda key: mix("cmo()")(key, batches, at(9))["main"]["targets"][0][1]))
    weights = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)))
    # A box is empty where its side is below two pixels: 1 - lam < (2 / 16)^2.
    expected = 0.5 * (1 - (2 / SIZE) ** 2)
    assert scipy.stats.binomtest(int((weights < 1).sum()), 4000, expected).pvalue > ERROR


def test_mixups_weights_are_beta():
    draw = jax.jit(jax.vmap(lambda key: mix("mixup(0.4)")(key, {"main": batch(num=1)}, at(9))["main"]["targets"][0][1]))
    weights = np.asarray(draw(jax.random.split(jax.random.key(1), 4000)))
    assert scipy.stats.kstest(weights, scipy.stats.beta(0.4, 0.4).cdf).pvalue > ERROR
