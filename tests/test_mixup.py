"""Mixup of images and labels, its random draws, and the two-term loss.

Random statistics are tested at 1e-6 each, four of them: a family-wise error rate of 4e-6, with fixed keys.
"""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import relative_error

from gcl_jax import methods, mixup
from gcl_jax.methods import LossOut, Method
from gcl_jax.methods.objective import objective

ERROR = 1e-6
DRAWS = 2000


def batch(num=16, seed=0):
    """Random images, and a label of its own for each, so that the second labels are the permutation."""
    images = np.random.default_rng(seed).normal(size=(num, 4, 4, 3)).astype(np.float32)
    return {"image": jnp.asarray(images), "label": jnp.arange(num)}


@functools.cache  # compiling the permutation under vmap takes seconds
def crop_noise(alpha):
    """lambda [DRAWS] and permutation [DRAWS, 16] of as many keys."""
    keys = jax.random.split(jax.random.key(7), DRAWS)
    (_, lam), (order, _) = jax.jit(jax.vmap(lambda key: mixup.mix(key, batch(), alpha)["targets"]))(keys)
    return np.asarray(lam, np.float64), np.asarray(order)


def lambda_and_order(mixed):
    (_, lam), (order, rest) = mixed["targets"]
    np.testing.assert_allclose(lam + rest, 1, rtol=1e-6)
    return lam, np.asarray(order)


def test_images_are_mixed_with_the_permuted_ones():
    before = batch()
    mixed = mixup.mix(jax.random.key(3), before, 1.0)
    x, (lam, order) = np.asarray(before["image"], np.float64), lambda_and_order(mixed)
    lam = float(lam)
    assert relative_error(mixed["image"], lam * x + (1 - lam) * x[order]) <= 1e-6


def test_lambda_is_one_for_the_whole_batch():
    before = batch()
    mixed = mixup.mix(jax.random.key(3), before, 1.0)
    x, (lam, order) = np.asarray(before["image"], np.float64), lambda_and_order(mixed)
    # Recovered from the pixels by least squares, image by image.
    moved = order != np.arange(16)
    a, b = (x - x[order])[moved], (np.asarray(mixed["image"], np.float64) - x[order])[moved]
    recovered = (a * b).sum((1, 2, 3)) / (a * a).sum((1, 2, 3))
    assert lam.shape == ()
    np.testing.assert_allclose(recovered, float(lam), atol=1e-6)


def test_labels_and_other_entries_stay():
    before = batch() | {"extra": jnp.ones(2)}
    mixed = mixup.mix(jax.random.key(3), before, 1.0)
    assert mixed["label"].tolist() == list(range(16))
    assert mixed["extra"] is before["extra"]


def test_second_labels_are_a_permutation():
    _, orders = crop_noise(1.0)
    assert np.array_equal(np.sort(orders), np.tile(np.arange(16), (DRAWS, 1)))


@pytest.mark.parametrize("alpha", [1.0, 0.2])
def test_lambda_is_beta_distributed(alpha):
    lam, _ = crop_noise(alpha)
    assert scipy.stats.kstest(lam, scipy.stats.beta(alpha, alpha).cdf).pvalue > ERROR


def test_chance_statistic_can_fail():
    lam, _ = crop_noise(0.2)
    assert scipy.stats.kstest(lam, "uniform").pvalue < ERROR


def test_partner_of_the_first_image_is_uniform_and_may_be_itself():
    _, orders = crop_noise(1.0)
    assert scipy.stats.chisquare(np.bincount(orders[:, 0], minlength=16)).pvalue > ERROR


def test_lambda_and_permutation_are_independent():
    lam, orders = crop_noise(1.0)
    assert scipy.stats.pearsonr(lam, orders[:, 0]).pvalue > ERROR


def test_mix_is_a_function_of_the_key():
    first, again, other = (mixup.mix(jax.random.key(k), batch(), 1.0) for k in (1, 1, 2))
    assert jnp.array_equal(first["image"], again["image"])
    assert lambda_and_order(first)[0] != lambda_and_order(other)[0]


def test_alpha_zero_is_the_identity():
    before = batch()
    assert mixup.mix(jax.random.key(0), before, 0) is before
    assert mixup.mix(jax.random.key(0), before, 0.0) is before


def test_images_keep_their_dtype():
    before = batch()
    mixed = mixup.mix(jax.random.key(0), before | {"image": before["image"].astype(jnp.bfloat16)}, 1.0)
    assert mixed["image"].dtype == jnp.bfloat16


LABELS = (jnp.array([1, 2]), jnp.array([2, 5]))
QUARTER = ((LABELS[0], jnp.float32(0.25)), (LABELS[1], jnp.float32(0.75)))
MIXED = {"label": LABELS[0], "targets": QUARTER}


class Fixed(Method):
    """A method whose loss is looked up by the labels, and that remembers the keys it was given."""

    logged: ClassVar = ("mean_label",)

    def loss(self, key, out, batch, t, info):
        labels = batch["label"]
        self.keys.append(tuple(jax.random.key_data(key).tolist()))
        return LossOut(out["of"][tuple(labels.tolist())], out["weight"][labels], 7.0, {"mean_label": labels.mean()})

    @property
    def keys(self):
        return self.__dict__.setdefault("_keys", [])


def terms(method, batch, weight=None):
    values = {(1, 2): jnp.array([10.0, 20.0]), (2, 5): jnp.array([100.0, 200.0])}
    out = {"of": values, "weight": jnp.ones(6) if weight is None else jnp.asarray(weight)}
    return objective(method, jax.random.key(0), out, batch, None, None)


def test_loss_weighs_the_two_terms():
    """The auxiliary loss counts once, and the metrics are weighted, too."""
    found = terms(Fixed(), MIXED)
    assert found.loss == pytest.approx(0.25 * 15 + 0.75 * 150 + 7)
    assert found.per_example.tolist() == [0.25 * 10 + 0.75 * 100, 0.25 * 20 + 0.75 * 200]
    assert found.metrics["mean_label"] == pytest.approx(0.25 * 1.5 + 0.75 * 3.5)


def test_each_term_has_its_own_normalizer():
    weight = [0, 3.0, 1.0, 0, 0, 2.0]
    found = terms(Fixed(), MIXED, weight)
    expected = 0.25 * (3 * 10 + 1 * 20) / 4 + 0.75 * (1 * 100 + 2 * 200) / 3
    assert found.loss == pytest.approx(expected + 7)
    assert found.per_example.mean() == pytest.approx(expected, rel=1e-6)


def test_weights_can_be_one_for_each_example():
    """As CutMix of a box for each image has them."""
    shares = jnp.array([0.25, 0.5])
    found = terms(Fixed(), MIXED | {"targets": ((LABELS[0], shares), (LABELS[1], 1 - shares))})
    assert found.loss == pytest.approx((0.25 * 10 + 0.5 * 20 + 0.75 * 100 + 0.5 * 200) / 2 + 7)


def test_loss_terms_have_keys_of_their_own():
    """A loss that draws noise draws it afresh for each term."""
    method = Fixed()
    terms(method, MIXED)
    assert len(method.keys) == len(set(method.keys)) == 2


def test_unmixed_batch_has_the_loss_once():
    method = Fixed()
    found = terms(method, {"label": LABELS[0]})
    assert (float(found.loss), len(method.keys)) == (15 + 7, 1)


REFERENCE = ["lam0.3", "lam0.85", "drawn"]


@pytest.mark.parametrize("case", REFERENCE)
def test_reference_images(losses_contrastive, monkeypatch, case):
    """The reference's lambda and permutation take the place of ours."""
    lam, theirs = (losses_contrastive[f"mixup/{case}/{k}"] for k in ("lam", "mixed_images"))
    images, labels, order = (losses_contrastive[f"mixup/{k}"] for k in ("images_nchw", "labels", "permutation"))
    monkeypatch.setattr(jax.random, "beta", lambda *args, **kwargs: jnp.asarray(lam))
    monkeypatch.setattr(jax.random, "permutation", lambda *args, **kwargs: jnp.asarray(order))
    found = mixup.mix(jax.random.key(0), {"image": jnp.asarray(images), "label": jnp.asarray(labels)}, 1.0)
    assert relative_error(found["image"], theirs) <= 1e-5
    assert lambda_and_order(found)[1].tolist() == labels[order].tolist()


@pytest.mark.parametrize("case", REFERENCE)
def test_reference_loss_and_gradient(losses_contrastive, case):
    logits, labels, order = (losses_contrastive[f"mixup/{k}"] for k in ("logits", "labels", "permutation"))
    lam = losses_contrastive[f"mixup/{case}/lam"]
    targets = ((jnp.asarray(labels), lam), (jnp.asarray(labels[order]), 1 - lam))

    def loss(z):
        batch = {"label": targets[0][0], "targets": targets}
        return objective(methods.CrossEntropy(), jax.random.key(0), {"scores": z}, batch, None, None).loss

    value, grad = jax.value_and_grad(loss)(jnp.asarray(logits))
    assert relative_error(value, losses_contrastive[f"mixup/{case}/value"]) <= 1e-5
    assert relative_error(grad, losses_contrastive[f"mixup/{case}/grad_logits"]) <= 1e-5
