"""MiSLAS (Zhong et al. 2021)."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.ce import MIXUP_ALPHA
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import NO_RATIO, recipe

# Imbalance ratio: (smoothing of the largest class, of the smallest, whether batch norm shifts, rate factor of the
# classifier); ratios that it has no setting for take the first.
SETTINGS: Mapping[str, Mapping[float, tuple[float, float, bool, float]]] = {
    "cifar10_lt": {100: (0.3, 0.0, False, 0.5), 50: (0.2, 0.0, False, 0.2), 10: (0.1, 0.0, False, 0.2)},
    "cifar100_lt": {100: (0.4, 0.1, True, 0.2), 50: (0.3, 0.0, True, 0.1), 10: (0.2, 0.0, True, 0.1)},
    "imagenet_lt": {NO_RATIO: (0.3, 0.0, True, 0.05)},
    "places_lt": {NO_RATIO: (0.4, 0.1, True, 0.05)},
}
FIRST_BATCH = {
    "cifar10_lt": 2,
    "imagenet_lt": 1,
}  # factors of the protocol's: 128 on CIFAR
SECOND_BATCH = {"cifar10_lt": 2, "imagenet_lt": 1, "places_lt": 1 / 2}  # 128, and 256


@recipe(
    "MiSLAS",
    published={
        "cifar10_lt": {200: 77.31, 100: 82.06, 50: 85.16},
        "cifar100_lt": {200: 42.33, 100: 47.50, 50: 52.62},
        "imagenet_lt": 52.11,
        "inat2018": 71.57,
        "places_lt": 40.15,
    },
)
def mislas(p: Protocol) -> ConfigDict:
    """CE + mixup, then label-aware smoothing on scaled logits, 10 epochs; batches of 128.

    Its own README has at ratios 100 / 50 / 10: 82.5 / 85.7 / 90.0 on CIFAR-10-LT, 47.0 / 52.3 / 63.2 on CIFAR-100-LT.
    """
    settings = p.pick(SETTINGS)
    head, tail, shifted, factor = settings.get(p.imbalance_ratio or NO_RATIO, next(iter(settings.values())))
    first = c.method("cross_entropy", mixup_alpha=p.pick(MIXUP_ALPHA))
    smoothed = p.retrain(
        c.method("mislas", smoothing_head=head, smoothing_tail=tail),
        sampler=c.sampler("class_aware", per_class=4),
        epochs=10,
        learning_rate=0.1,
        bn="stats_only" if shifted else "frozen",
        batch=p.pick(SECOND_BATCH),
        lr_mult=(f"head/(kernel|bias)$={factor}",),
    )
    return p.experiment(
        representation=p.train(first, alone=False, batch=p.pick(FIRST_BATCH)),
        classifier=smoothed,
    )
