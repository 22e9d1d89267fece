"""The configs' own methods, rates and batches against the authors' code: what a row trains, not what a function can."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error
from tiny import load_config

from gcl_jax import config as config_lib
from gcl_jax import longtail, losses, methods, optim
from gcl_jax.methods import ClassStats, Time

ROWS = {  # the reference's name of a loss: (config file, stage)
    "gcl_stage1_m0_s30_k0.5": ("gcl_published", "representation"),
    "gcl_stage2_m0.1_s20_k0.5_focal1": ("gcl_published", "classifier"),
    "gclang_m0_s30_eps0.5_easy": ("gcl_angular", "representation"),
}


def stats_of(method, counts):
    constants = {k: jnp.asarray(v, jnp.float32) for k, v in method.constants(np.asarray(counts)).items()}
    return ClassStats(jnp.asarray(counts, jnp.float32), constants)


def at(epoch, epochs=200):
    """The first step of an epoch that counts from 0."""
    fraction = jnp.float32(epoch) / jnp.float32(epochs)
    return Time(jnp.int32(0), jnp.int32(epoch), jnp.int32(epochs), fraction, jnp.float32(0.1))


def check(family, name, method, scores, labels, counts, kind, t=None):
    """Value and gradient of ``method``'s loss by its scores, meaned as the step does."""

    def objective(scores):
        found = method.loss(
            jax.random.key(0), {"scores": scores}, {"label": labels}, t or at(0), stats_of(method, counts)
        )
        return losses.weighted_mean(found.per_example, found.weight)

    value, grad = jax.value_and_grad(objective)(jnp.asarray(scores))
    assert relative_error(value, family[f"{name}/value"]) <= 1e-5
    assert relative_error(grad, family[f"{name}/grad_{kind}"]) <= 1e-5


def built(file, stage, ratio="100"):
    return config_lib.build_method(load_config(file, ratio)[stage].method)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("name", ROWS)
def test_gcls_rows_train_the_published_losses(official, monkeypatch, dataset, name):
    family = Family(official, f"loss/{dataset}/")
    config, stage = ROWS[name]
    method = built(f"{dataset}_lt/{config}.py", stage)
    monkeypatch.setattr(losses, "gcl_noise", lambda key, shape: jnp.asarray(family["noise"]))
    labels = jnp.asarray(family["labels"])
    check(family, name, method, family["cosine"], labels, family["counts"], "cosine")


@pytest.mark.parametrize("ratio", ["100", "50"])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_the_rows_of_one_stage_train_the_published_losses(losses_contrastive, dataset, ratio):
    family = Family(losses_contrastive, f"ldam/{dataset}/{ratio}/")
    counts, labels = family["counts"], jnp.asarray(family["labels"])
    ldam = built(f"{dataset}_lt/ldam_drw.py", "representation", ratio)
    for name, t in (("ldam", at(0)), ("ldam_drw_before", at(159)), ("ldam_drw", at(160))):
        check(family, name, ldam, family["cosine"], labels, counts, "cosine", t)
    plain = {
        "ce": built(f"{dataset}_lt/ce.py", "representation", ratio),
        "ce_weighted": built(f"{dataset}_lt/class_balanced_loss.py", "representation", ratio),
        "focal_gamma1": built(f"{dataset}_lt/focal.py", "representation", ratio),
        "focal_gamma1_weighted": methods.CrossEntropy(focal_gamma=1.0, reweighting="effective_number"),  # LDAM's script
    }
    for name, method in plain.items():
        check(family, name, method, family["logits"], labels, counts, "logits")
    family = Family(losses_contrastive, f"balanced_softmax/{dataset}/{ratio}/")
    method = built(f"{dataset}_lt/balanced_softmax.py", "representation", ratio)
    whole = {f"whole/{name}": family[name] for name in ("value", "grad_logits")}
    check(whole, "whole", method, family["logits"], jnp.asarray(family["labels"]), family["counts"], "logits")


def test_drw_weighs_from_the_published_epoch_on(losses_contrastive):
    switched = losses_contrastive["ldam/schedule/drw_on_200_epochs"]
    method = built("cifar10_lt/ldam_drw.py", "representation")
    stats = stats_of(method, longtail.exponential_counts(5000, 10, 100))
    found = [np.asarray(method.class_weight(at(epoch), stats)) for epoch in range(len(switched))]
    assert [bool((weight != 1).all()) for weight in found] == switched.astype(bool).tolist()
    assert all((weight == 1).all() for weight in found[: np.argmax(switched)])


def rates(file, stage, argument="100"):
    return optim.epoch_learning_rates(**config_lib.schedule_fields(load_config(file, argument)[stage]))


@pytest.mark.parametrize("row", ["gcl", "gcl_published", "ce"])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_gcls_rows_have_the_published_rates(official, dataset, row):
    file = f"{dataset}_lt/{row}.py"
    np.testing.assert_allclose(rates(file, "representation"), official["schedule/stage1_lr_200_epochs"], rtol=1e-5)
    config = load_config(file)
    assert (config.representation.batch_size, config.representation.optimizer.weight_decay) == (64, 2e-4)
    if "classifier" in config:
        theirs = official["schedule/official_stage2_lr_30_epochs"]
        np.testing.assert_allclose(rates(file, "classifier"), theirs, rtol=1e-5)
        assert (config.classifier.batch_size, config.classifier.optimizer.weight_decay) == (64, 2e-4)
        assert (config.classifier.bn, config.classifier.method.trains) == ("frozen", "classifier")


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_ldams_row_has_the_published_rates(losses_contrastive, dataset):
    theirs = losses_contrastive["ldam/schedule/lr_200_epochs"]
    np.testing.assert_allclose(rates(f"{dataset}_lt/ldam_drw.py", "representation"), theirs, rtol=1e-5)
    assert load_config(f"{dataset}_lt/ldam_drw.py").representation.batch_size == 128


MISLAS = {  # the reference's name of a recipe: (config file, its argument, whether its first stage is MiSLAS's own)
    "cifar10_if100": ("cifar10_lt", "100", True),
    "cifar100_if100": ("cifar100_lt", "100", True),
    "imagenet": ("imagenet_lt", "somewhere", False),  # 200 epochs, as every row there: see `recipes.large_scale`
    "places": ("places_lt", "somewhere", False),  # the shared published backbone
}


@pytest.mark.parametrize("recipe", MISLAS)
def test_mislas_rows_have_the_published_recipe(mislas_disalign, recipe):
    family = Family(mislas_disalign, f"mislas/schedule/{recipe}/")
    folder, argument, own_first = MISLAS[recipe]
    file = f"{folder}/mislas.py"
    config = load_config(file, argument)
    first, second = config.representation, config.classifier
    decay, batch = family["weight_decay_stage1_stage2"], family["batch_size_stage1_stage2"]
    if own_first:
        np.testing.assert_allclose(rates(file, "representation", argument), family["stage1_lr"], rtol=1e-5)
        assert (first.optimizer.weight_decay, first.batch_size) == (pytest.approx(decay[0]), batch[0])
    head, tail, factor, shifted = family["eps1_epsK_lrfactor_shift"].tolist()
    assert (second.method.smoothing_head, second.method.smoothing_tail) == (pytest.approx(head), pytest.approx(tail))
    assert second.bn == ("stats_only" if shifted else "frozen")
    own = rates(file, "classifier", argument)
    groups = config_lib.build_method(second.method).groups()
    assert groups["head"].lr_factor == pytest.approx(factor)
    both = np.stack([groups["head"].lr_factor * own, groups["scale"].lr_factor * own], axis=1)
    np.testing.assert_allclose(both, family["stage2_lr_classifier_scale"], rtol=1e-5)
    assert (second.optimizer.weight_decay, second.batch_size) == (pytest.approx(decay[1]), batch[1])
