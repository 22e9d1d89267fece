"""Cross-entropy, and with mixup."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe

MIXUP_ALPHA = {"cifar10_lt": 1.0, "imagenet_lt": 0.2}


@recipe(
    "CE",
    published={
        "cifar10_lt": {200: 65.68, 100: 70.70, 50: 74.81},
        "cifar100_lt": {200: 34.84, 100: 38.43, 50: 43.9},
        "imagenet_lt": 44.51,
        "inat2018": 63.80,
        "places_lt": 27.13,
    },
)
def ce(p: Protocol) -> ConfigDict:
    """Cross-entropy."""
    return p.experiment(representation=p.train(c.method("cross_entropy")))


@recipe(
    "CE + mixup",
    published={
        "cifar10_lt": {200: 65.84, 100: 72.96, 50: 79.48},
        "cifar100_lt": {200: 35.84, 100: 40.01, 50: 45.16},
        "imagenet_lt": 45.66,
        "inat2018": 65.77,
        "places_lt": 29.51,
    },
)
def ce_mixup(p: Protocol) -> ConfigDict:
    """Cross-entropy with mixup (Zhang et al. 2018), alpha 1, and 0.2 on the large data sets."""
    return p.experiment(representation=p.train(c.method("cross_entropy", mixup_alpha=p.pick(MIXUP_ALPHA))))
