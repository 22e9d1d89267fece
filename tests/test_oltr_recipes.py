"""OLTR's recipes: groups of classes, rates and what trains, as its authors' code has them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error
from flax import traverse_util
from tiny import load_config

from gcl_jax import config as config_lib
from gcl_jax import methods, metrics, models, optim
from gcl_jax.checkpoints import warm_start
from gcl_jax.errors import UserError
from gcl_jax.training.network_apply import NetworkApply


def close(ours, theirs, bound=1e-5):
    assert relative_error(ours, theirs) <= bound


def by_oltrs_rule(counts):
    """Their groups: many from 100 on, few up to 20; ours are classifier-balancing's."""
    return {"many": counts >= 100, "medium": (counts > 20) & (counts < 100), "few": counts <= 20}


def test_shots(oltr_decoupling):
    """Per-class accuracies averaged by their groups, which differ from ours at counts of exactly 20 and 100."""
    family = Family(oltr_decoupling, "oltr/shot/")
    groups = by_oltrs_rule(family["train_counts"])

    def found(prefix=""):
        label, predicted = family[f"{prefix}label"], family[f"{prefix}pred"]
        unused = np.zeros(len(label), np.float32)
        per_class = metrics.summarize(
            metrics.Predictions(label, predicted, unused, unused, unused), groups["few"] * 0 + 1
        )
        accuracies = np.array([np.nan if a is None else a for a in per_class["per_class"]]) / 100
        return [np.nanmean(accuracies[g]) if np.isfinite(accuracies[g]).any() else None for g in groups.values()]

    close(found(), family["many_medium_few"])
    many, medium, few = found("nofew/")
    close([many, medium], family["nofew/many_medium"])
    assert few is None
    assert family["nofew/few_is_nan"]
    assert not family.unread()


PATHS = ("backbone/w", "head/attention/w", "head/feature_kernel", "head/kernel", "head/centroids")


def multipliers(stage):
    """{path: factor of the rate} under a stage's rules."""
    params = traverse_util.unflatten_dict(dict.fromkeys(PATHS, 0.0), sep="/")
    rules = optim.parse_rules(stage.optimizer.lr_mult, "lr_mult")
    labels, groups = optim.param_groups(params, trainable=".*", lr_mult=rules)
    return {path: groups[name].lr_mult for path, name in traverse_util.flatten_dict(labels, sep="/").items()}


RATES = {  # (epochs, rates of features, classifier and centroids, percents of the two drops)
    "imagenet_r10/stage1": (30, (0.1, 0.1), (100 / 3, 200 / 3)),
    "imagenet_r10/stage2": (60, (0.01, 0.1, 0.01), (100 / 3, 200 / 3)),
    "places_r152/stage1": (30, (0.001, 0.1), (100 / 3, 200 / 3)),
    "places_r152/stage2": (30, (1e-4, 0.01, 0.01), (100 / 3, 200 / 3)),
}


def test_rates(oltr_decoupling):
    """Of both data sets by our schedule; and of our config, which takes ImageNet-LT's second stage."""
    family = Family(oltr_decoupling, "oltr/lr/")
    for name, (epochs, rates, drops) in RATES.items():
        for group, rate in zip(("feat", "classifier", "centroids"), rates, strict=False):
            ours = optim.epoch_learning_rates(
                learning_rate=rate, schedule="step", epochs=epochs, boundaries_percent=drops, decay_factors=(0.1, 0.01)
            )
            close(ours, family[f"{name}/{group}"])
    assert not family.unread()
    for dataset in ("cifar10", "cifar100"):
        stage = load_config(f"{dataset}_lt:oltr").meta_embedding
        factor = multipliers(stage)
        ours = optim.epoch_learning_rates(**config_lib.schedule_fields(stage))
        theirs = dict(zip(PATHS, ("feat", "feat", "feat", "classifier", "centroids"), strict=True))
        for path, name in theirs.items():
            close(ours * factor[path], family[f"imagenet_r10/stage2/{name}"])
        assert (stage.batch_size, stage.optimizer.momentum, stage.optimizer.weight_decay) == (128, 0.9, 5e-4)


def test_rates_on_places(oltr_decoupling):
    """Of both stages, as the authors' own recipe has them."""
    family = Family(oltr_decoupling, "oltr/lr/")
    config = load_config("places_lt:oltr", "somewhere")
    both = {"head/feature_kernel": "feat", "head/kernel": "classifier"}
    first, second = both | {"backbone/w": "feat"}, both | {"head/attention/w": "feat", "head/centroids": "centroids"}
    for number, stage in enumerate((config.representation, config.meta_embedding), 1):
        factor = multipliers(stage)
        ours = optim.epoch_learning_rates(**config_lib.schedule_fields(stage))
        for path, name in (first, second)[number - 1].items():
            close(ours * factor[path], family[f"places_r152/stage{number}/{name}"])
        assert (stage.batch_size, stage.optimizer.momentum, stage.optimizer.weight_decay) == (128, 0.9, 5e-4)


@pytest.mark.slow
def test_the_feature_layer_of_places_goes_on():
    """512 dimensions behind any backbone, by hand; OLTR's second stage takes the layer, without it a fresh one."""

    def variables(head, seed):
        network = models.build("resnet8", head, 10)
        return network, jax.jit(lambda: network.init(jax.random.key(seed), jnp.zeros((1, 8, 8, 1)), train=False))()

    config = load_config("places_lt:oltr", "somewhere")
    network, first = variables("linear_512", 0)
    images = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))
    out, _ = NetworkApply(network, "frozen")(first, images, train=False)
    pooled = NetworkApply(network, "frozen").features(first, images, train=False)[0].pooled
    head = first["params"]["head"]
    x = np.maximum(np.asarray(pooled) @ head["feature_kernel"] + head["feature_bias"], 0)
    assert x.shape == (3, 512)
    np.testing.assert_allclose(out["features"], x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out["scores"], x @ head["kernel"] + head["bias"], rtol=1e-5, atol=1e-5)

    fresh = variables("meta_embedding_512", 2)[1]
    then = warm_start.restore_variables(fresh, first, restored_by(config.meta_embedding.restore), "x")["params"]["head"]
    for name in ("feature_kernel", "feature_bias", "kernel", "bias"):
        np.testing.assert_array_equal(then[name], head[name])
    for name in ("cosine_kernel", "selector_kernel"):
        np.testing.assert_array_equal(then[name], fresh["params"]["head"][name])

    plain, other = variables("linear", 3)[1], variables("meta_embedding", 4)[1]
    then = warm_start.restore_variables(other, plain, restored_by(methods.OLTR.restore), "x")["params"]["head"]
    np.testing.assert_array_equal(then["feature_kernel"], other["params"]["head"]["feature_kernel"])
    with pytest.raises(UserError, match="head/feature_"):
        warm_start.restore_variables(fresh, plain, restored_by(config.meta_embedding.restore), "x")


def restored_by(regex):
    return lambda path: bool(re.match(regex, "/".join(path)))


def test_what_the_first_stage_on_places_trains_slowly():
    """The published network and the new feature layer at a hundredth of the classifier's rate."""
    factor = multipliers(load_config("places_lt:oltr", "somewhere").representation)
    assert {factor[path] for path in ("backbone/w", "head/feature_kernel")} == {0.01}
    assert factor["head/kernel"] == 1


def test_what_places_trains(oltr_decoupling):
    """The backbone is frozen but its attention and new layer are not (authors' names)."""
    network = models.build("resnet8", "meta_embedding", 10)
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False))["params"]
    stage = load_config("places_lt:oltr", "somewhere").meta_embedding
    rules = optim.parse_rules(stage.optimizer.lr_mult, "lr_mult")
    labels, groups = optim.param_groups(params, trainable=stage.trainable, lr_mult=rules)
    labels = traverse_util.flatten_dict(labels)
    found = {path for path, name in labels.items() if name != optim.FROZEN and groups[name].lr_mult == 0.01}
    theirs = set()
    for path in found:
        layer, leaf = path[-1].rsplit("_", 1)
        block = "modulatedatt." if path[1] == "attention" else ""
        layer = {"mask": "conv_mask", "spatial": "fc_spatial", "feature": "fc_add"}.get(layer, layer)
        theirs.add(f"{block}{layer}.{'weight' if leaf == 'kernel' else 'bias'}")
    assert theirs == set(oltr_decoupling["oltr/places_stage2_trainable"].tolist()) - {"modulatedatt.phi.bias"}
    assert all(label == optim.FROZEN for path, label in labels.items() if path[0] == "backbone")
