"""The configs' own methods, rates and batches against the authors' code: what a row trains, not what a function can."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error
from tiny import load_config

from gcl_jax import config as config_lib
from gcl_jax import longtail, losses, methods, optim, sampling
from gcl_jax.methods import ClassInfo, StepInfo
from gcl_jax.recipes import RECIPES

ROWS = {  # the reference's name of a loss: (config file, stage)
    "gcl_stage1_m0_s30_k0.5": ("gcl_published", "representation"),
    "gcl_stage2_m0.1_s20_k0.5_focal1": ("gcl_published", "classifier"),
    "gclang_m0_s30_eps0.5_easy": ("gcl_angular", "representation"),
}


def stats_of(method, counts):
    constants = {k: jnp.asarray(v, jnp.float32) for k, v in method.constants(np.asarray(counts)).items()}
    return ClassInfo(jnp.asarray(counts, jnp.float32), constants)


def at(epoch, epochs=200):
    """The first step of an epoch that counts from 0."""
    return StepInfo.at(jnp.int32(epoch), epochs=epochs, steps_per_epoch=1, learning_rate=jnp.float32(0.1))


def check(family, name, method, scores, labels, counts, kind, t=None):
    """Value and gradient of ``method``'s loss by its scores, averaged as the step does."""

    def objective(scores):
        found = method.loss(
            jax.random.key(0), {"scores": scores}, {"label": labels}, t or at(0), stats_of(method, counts)
        )
        return losses.weighted_mean(found.per_example, found.weight)

    value, grad = jax.value_and_grad(objective)(jnp.asarray(scores))
    assert relative_error(value, family[f"{name}/value"]) <= 1e-5
    assert relative_error(grad, family[f"{name}/grad_{kind}"]) <= 1e-5


def built(file, stage, ratio="100"):
    return built_of(load_config(file, ratio)[stage])


def built_of(stage):
    return config_lib.build_method(stage.method)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("name", ROWS)
def test_gcls_rows_train_the_published_losses(official, monkeypatch, dataset, name):
    family = Family(official, f"loss/{dataset}/")
    config, stage = ROWS[name]
    method = built(f"{dataset}_lt:{config}", stage)
    monkeypatch.setattr(losses, "gcl_noise", lambda key, shape: jnp.asarray(family["noise"]))
    labels = jnp.asarray(family["labels"])
    check(family, name, method, family["cosine"], labels, family["counts"], "cosine")


@pytest.mark.parametrize("ratio", ["100", "50"])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_the_rows_of_one_stage_train_the_published_losses(losses_contrastive, dataset, ratio):
    family = Family(losses_contrastive, f"ldam/{dataset}/{ratio}/")
    counts, labels = family["counts"], jnp.asarray(family["labels"])
    ldam = built(f"{dataset}_lt:ldam_drw", "representation", ratio)
    for name, t in (("ldam", at(0)), ("ldam_drw_before", at(159)), ("ldam_drw", at(160))):
        check(family, name, ldam, family["cosine"], labels, counts, "cosine", t)
    plain = {
        "ce": built(f"{dataset}_lt:ce", "representation", ratio),
        "ce_weighted": built(f"{dataset}_lt:class_balanced_loss", "representation", ratio),
        "focal_gamma1": built(f"{dataset}_lt:focal", "representation", ratio),
        "focal_gamma1_weighted": methods.CrossEntropy(focal_gamma=1.0, reweighting="effective_number"),  # LDAM's script
    }
    for name, method in plain.items():
        check(family, name, method, family["logits"], labels, counts, "logits")
    family = Family(losses_contrastive, f"balanced_softmax/{dataset}/{ratio}/")
    method = built(f"{dataset}_lt:balanced_softmax", "representation", ratio)
    whole = {f"whole/{name}": family[name] for name in ("value", "grad_logits")}
    check(whole, "whole", method, family["logits"], jnp.asarray(family["labels"]), family["counts"], "logits")


def test_drw_weighs_from_the_published_epoch_on(losses_contrastive):
    switched = losses_contrastive["ldam/schedule/drw_on_200_epochs"]
    method = built("cifar10_lt:ldam_drw", "representation")
    stats = stats_of(method, longtail.exponential_counts(5000, 10, 100))
    found = [np.asarray(method.class_weight(at(epoch), stats)) for epoch in range(len(switched))]
    assert [bool((weight != 1).all()) for weight in found] == switched.astype(bool).tolist()
    assert all((weight == 1).all() for weight in found[: np.argmax(switched)])


def rates(file, stage, argument="100"):
    return optim.epoch_learning_rates(**config_lib.schedule_fields(load_config(file, argument)[stage]))


@pytest.mark.parametrize("row", ["gcl", "gcl_published", "ce"])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_gcls_rows_have_the_published_rates(official, dataset, row):
    file = f"{dataset}_lt:{row}"
    np.testing.assert_allclose(rates(file, "representation"), official["schedule/stage1_lr_200_epochs"], rtol=1e-5)
    config = load_config(file)
    assert (config.representation.batch_size, config.representation.optimizer.weight_decay) == (64, 2e-4)
    if "classifier" in config:
        theirs = official["schedule/official_stage2_lr_30_epochs"]
        np.testing.assert_allclose(rates(file, "classifier"), theirs, rtol=1e-5)
        assert (config.classifier.batch_size, config.classifier.optimizer.weight_decay) == (64, 2e-4)
        assert (config.classifier.bn, config.classifier.trainable) == ("frozen", "head/")


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_ldams_row_has_the_published_rates(losses_contrastive, dataset):
    theirs = losses_contrastive["ldam/schedule/lr_200_epochs"]
    np.testing.assert_allclose(rates(f"{dataset}_lt:ldam_drw", "representation"), theirs, rtol=1e-5)
    assert load_config(f"{dataset}_lt:ldam_drw").representation.batch_size == 128


MISLAS = {  # the reference's name of a recipe: (config file, its argument, whether its first stage is MiSLAS's own)
    "cifar10_if100": ("cifar10_lt", "100", True),
    "cifar100_if100": ("cifar100_lt", "100", True),
    "imagenet": ("imagenet_lt", "somewhere", False),  # 200 epochs, as every row there: see configs/imagenet_lt.py
    "places": ("places_lt", "somewhere", False),  # the shared published backbone
}


@pytest.mark.parametrize("recipe", MISLAS)
def test_mislas_rows_have_the_published_recipe(mislas_disalign, recipe):
    family = Family(mislas_disalign, f"mislas/schedule/{recipe}/")
    folder, argument, own_first = MISLAS[recipe]
    file = f"{folder}:mislas"
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
    params = {"head": dict.fromkeys(("kernel", "bias", "scale"), 0.0)}
    (slow,) = rules = optim.parse_rules(second.optimizer.lr_mult, "lr_mult")
    labels, groups = optim.param_groups(params, trainable=second.trainable, lr_mult=rules)
    rate = {name: groups[labels["head"][name]].lr_mult for name in params["head"]}
    assert rate == {"kernel": slow[1], "bias": slow[1], "scale": 1}
    assert slow[1] == pytest.approx(factor)
    both = np.stack([rate["kernel"] * own, rate["scale"] * own], axis=1)
    np.testing.assert_allclose(both, family["stage2_lr_classifier_scale"], rtol=1e-5)
    assert (second.optimizer.weight_decay, second.batch_size) == (pytest.approx(decay[1]), batch[1])


RETRAINED = {  # config file: (the reference's schedule, the batch that its rate is for, epochs as its docstring says)
    "imagenet_lt:ce_mixup_crt": ("crt_imagenet", 512, 10),
    "inat2018:ce_mixup_crt": ("crt_inat", 512, 30),
    "places_lt:ce_mixup_crt": ("crt_places", 256, 10),
    "cifar10_lt:crt": ("crt_imagenet", 512, 10),
    "cifar100_lt:crt": ("crt_imagenet", 512, 10),
    "imagenet_lt:lws": ("lws_imagenet", 512, 5),
    "inat2018:lws": ("lws_imagenet", 512, 5),
    "places_lt:lws": ("lws_places", 256, 5),
    "cifar10_lt:lws": ("lws_imagenet", 512, 5),
    "cifar100_lt:lws": ("lws_imagenet", 512, 5),
}


def argument_of(file):
    return "100" if file.startswith("cifar") else "somewhere"


@pytest.mark.parametrize("file", RETRAINED)
def test_decouplings_rows_have_the_published_second_stage(oltr_decoupling, file):
    schedule, batch, epochs = RETRAINED[file]
    config = load_config(file, argument_of(file))
    theirs = oltr_decoupling[f"dec/lr/{schedule}/torch_up_to_1.0/classifier"]
    scaled = theirs * config.classifier.batch_size / batch
    np.testing.assert_allclose(rates(file, "classifier", argument_of(file)), scaled, rtol=1e-5)
    assert re.search(rf"\b{epochs}( epochs| \(iNaturalist\))", RECIPES[file.split(":")[1]].__doc__)
    assert len(theirs) == epochs
    sampler = config_lib.build_sampler(config.classifier.sampler)
    assert sampler == sampling.ClassAware(per_class=4)
    assert config.classifier.bn == "stats_only"
    whole = schedule.startswith("crt")
    expected = ("head/", "backbone/") if whole else ("head/scale", methods.Method.restore)
    assert (config.classifier.trainable, config.classifier.restore) == expected
    assert config.classifier.optimizer.weight_decay == config.representation.optimizer.weight_decay


@pytest.mark.parametrize("folder", ["imagenet_lt", "inat2018", "places_lt", "cifar10_lt", "cifar100_lt"])
def test_disaligns_rows_have_its_published_second_stage(mislas_disalign, folder):
    file = f"{folder}:disalign"
    stage = load_config(file, argument_of(file)).classifier
    scaled = mislas_disalign["disalign/schedule/stage2_lr_10_epochs"] * stage.batch_size / 256
    np.testing.assert_allclose(rates(file, "classifier", argument_of(file)), scaled, rtol=1e-5)
    method = built_of(stage)
    assert (method.form, method.rho) == ("paper", pytest.approx(1.2))
    assert config_lib.build_sampler(stage.sampler) == sampling.Instance()
    assert stage.bn == "stats_only"


def test_gcls_row_on_places_has_the_published_recipe():
    """Batch 512, rate 0.2, warm-up over 5 of 90 epochs, x 0.1 behind the 60th, x 0.01 behind the 80th; noise 1."""
    file = "places_lt:gcl"
    config = load_config(file, "somewhere")
    epoch = np.arange(1, 91)
    expected = 0.2 * np.minimum(epoch / 5, 1) * np.where(epoch > 80, 0.01, np.where(epoch > 60, 0.1, 1))
    np.testing.assert_allclose(rates(file, "representation", "somewhere"), expected, rtol=1e-6)
    cosine = 0.001 * (1 + np.cos(np.pi * np.arange(30) / 30))
    np.testing.assert_allclose(rates(file, "classifier", "somewhere"), cosine, rtol=1e-6)
    first, second = built_of(config.representation), built_of(config.classifier)
    assert (first.scale, first.margin, first.noise_multiplier, first.mixup_alpha) == (30.0, 0.0, 1.0, 0.2)
    assert (second.scale, second.margin, second.noise_multiplier, second.focal_gamma) == (15.0, 0.1, 1.0, 1.0)
    assert {stage.batch_size for stage in (config.representation, config.classifier)} == {512}
    assert {stage.optimizer.weight_decay for stage in (config.representation, config.classifier)} == {5e-4}


def test_tau_is_chosen_from_decouplings_grid():
    tuning = load_config("cifar10_lt:tau_norm").tuning
    np.testing.assert_allclose(tuning.grid, np.linspace(0, 2, 21))
    assert tuning.validation_fraction == pytest.approx(0.1)
