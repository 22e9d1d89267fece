"""Contrastive losses and Hybrid-SC against reference values, a loop over anchors, and the recipe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error
from tiny import load_config

from gcl_jax import config as config_lib
from gcl_jax import contrastive, methods, optim
from gcl_jax.methods import StepInfo
from gcl_jax.transforms.color import random_grayscale

GRAY = np.array([0.299, 0.587, 0.114])


def by_loop(z, labels, t):
    """Khosla et al. 2020, eq. 2, as it is written."""
    losses = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        positives = [p for p in others if labels[p] == labels[i]]
        total = sum(np.exp(z[i] @ z[k] / t) for k in others)
        terms = [np.log(np.exp(z[i] @ z[p] / t) / total) for p in positives]
        losses.append(-sum(terms) / len(positives) if positives else 0.0)
    return np.array(losses)


@pytest.mark.parametrize(("case", "views"), [("two_views", 2), ("one_view", 1)])
def test_supervised_contrastive_parity(losses_contrastive, case, views):
    family = Family(losses_contrastive, "hybrid_sc/supcon/")
    features, labels = jnp.asarray(family["features"])[:, :views], jnp.tile(family["labels"], views)

    def mean(features):
        z = jnp.moveaxis(features, 1, 0).reshape(-1, features.shape[-1])
        per_anchor = contrastive.supervised_contrastive(z, labels, temperature=0.1)
        return per_anchor.mean(), per_anchor.reshape(views, -1)

    (value, per_anchor), grad = jax.value_and_grad(mean, has_aux=True)(features)
    assert relative_error(value, family[f"{case}/value"]) <= 1e-5
    assert relative_error(per_anchor, family[f"{case}/per_anchor"]) <= 1e-5
    assert relative_error(grad, family[f"{case}/grad_features"]) <= 1e-5
    if case == "two_views":
        assert relative_error(value, family["two_views/value_metu"]) <= 1e-5
        # SupContrast's default multiplies by temperature / base temperature; the paper does not.
        assert relative_error(value * 0.1 / 0.07, family["two_views/value_base_temperature_0.07"]) <= 1e-5


def test_supervised_contrastive_is_the_loop_over_anchors():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(12, 5))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    labels = rng.integers(0, 4, 12)
    labels[0] = 9  # without positives
    found = contrastive.supervised_contrastive(jnp.asarray(z, jnp.float32), jnp.asarray(labels), temperature=0.3)
    np.testing.assert_allclose(found, by_loop(z, labels, 0.3), rtol=1e-5, atol=1e-6)
    assert found[0] == 0


@pytest.mark.parametrize("temperature", ["1", "0.1"])
@pytest.mark.parametrize("kind", ["raw", "unit"])
def test_prototypical_contrastive_parity(losses_contrastive, kind, temperature):
    family = Family(losses_contrastive, "hybrid_sc/recipe_only/psc/")
    case = f"{kind}_prototypes/t{temperature}"
    labels = jnp.asarray(family["labels"])

    def mean(features, prototypes):
        p = prototypes / jnp.linalg.norm(prototypes, axis=1, keepdims=True) if kind == "unit" else prototypes
        per = contrastive.prototypical_contrastive(features, labels, p, temperature=float(temperature))
        return per.mean(), per

    arguments = jnp.asarray(family["features"]), jnp.asarray(family["prototypes"])
    (value, per_example), grads = jax.value_and_grad(mean, (0, 1), has_aux=True)(*arguments)
    assert relative_error(value, family[f"{case}/value"]) <= 1e-5
    assert relative_error(per_example, family[f"{case}/per_example"]) <= 1e-5
    assert relative_error(grads[0], family[f"{case}/grad_features"]) <= 1e-5
    assert relative_error(grads[1], family[f"{case}/grad_prototypes"]) <= 1e-5


def test_curriculum_and_schedule(losses_contrastive):
    """a = 1 - (e / 200)^2, a L_SC + (1 - a) L_CE, and the recipe's learning rates."""
    family = Family(losses_contrastive, "hybrid_sc/metu/")
    method = methods.HybridSC()
    streams = {"main": {"image": np.zeros((2, 1, 4, 4, 3)), "label": jnp.zeros(1, int)}, "balanced": {}}
    shares = []
    for epoch in range(200):
        t = StepInfo.at(jnp.int32(epoch), epochs=200, steps_per_epoch=1, learning_rate=jnp.float32(0))
        shares.append(float(method.prepare(None, streams, t)["share"]))
    assert relative_error(shares, family["alpha_200_epochs"]) <= 1e-5
    a = np.array(shares)
    mixed = a * family["loss_sc"] + (1 - a) * family["loss_ce"]
    assert relative_error(mixed, family["loss_200_epochs"]) <= 1e-5
    stage = load_config("cifar10_lt:hybrid_sc").representation
    rates = optim.epoch_learning_rates(**config_lib.schedule_fields(stage))
    assert relative_error(rates, family["lr_200_epochs_no_warmup"]) <= 1e-5
    assert (stage.batch_size, stage.optimizer.weight_decay) == (512, 1e-4)
    assert not family.unread()


@pytest.mark.parametrize("contrast", ["supervised", "prototypical"])
def test_the_loss_is_the_mixture_of_its_two_terms(contrast):
    """Through the method: anchors against the contrastive loss, the balanced batch against cross-entropy."""
    method = methods.HybridSC(contrast=contrast, temperature=0.5)
    assert method.heads == (("projection",) if contrast == "supervised" else ("projection_prototypes",))
    rng = np.random.default_rng(1)
    views = 2 if contrast == "supervised" else 1
    z = rng.normal(size=(views * 3, 4)).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    scores, prototypes = rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)
    labels, anchors = np.array([0, 1, 1]), np.tile(np.array([0, 1, 0]), views)
    batch = {"label": jnp.asarray(labels), "anchor": {"label": jnp.asarray(anchors)}, "share": jnp.float32(0.7)}
    terms = method.loss(None, {"scores": scores, "projection": z, "prototypes": prototypes}, batch, None, None)
    ce = np.log(np.exp(scores).sum(1)) - scores[np.arange(3), labels]
    if contrast == "supervised":
        contrastive_term = by_loop(z, anchors, 0.5).mean()
    else:
        similarity = z @ prototypes.T / 0.5
        contrastive_term = (similarity[np.arange(3), 1 - anchors] - similarity[np.arange(3), anchors]).mean()
    found = terms.per_example.mean() + terms.aux_loss
    assert float(found) == pytest.approx(0.3 * ce.mean() + 0.7 * contrastive_term, rel=1e-5)


def test_a_fifth_of_the_images_turn_gray():
    """2,000 draws: within 4.5 standard deviations of 20 %, an error once in 150,000 seeds; the others stay."""
    images = np.random.default_rng(0).integers(0, 256, (2000, 1, 1, 3), np.uint8)
    images[:, 0, 0, 0] = 255 - images[:, 0, 0, 1] // 2  # none is gray already
    found = np.asarray(random_grayscale(jax.random.key(0), jnp.asarray(images), 0.2))
    gray = (found == found[..., :1]).all(axis=(1, 2, 3))
    assert abs(gray.sum() - 400) <= 4.5 * (2000 * 0.2 * 0.8) ** 0.5
    np.testing.assert_array_equal(found[~gray], images[~gray])
    expected = np.round((images[gray].astype(np.float32) * GRAY.astype(np.float32)).sum(-1))
    assert np.abs(found[gray][..., 0].astype(int) - expected).max() <= 1  # one of rounding
