"""LDAM-DRW (Cao et al. 2019)."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe


@recipe(
    "LDAM-DRW",
    published={
        "cifar10_lt": {200: 73.52, 100: 77.03, 50: 81.03},
        "cifar100_lt": {200: 38.91, 100: 42.04, 50: 47.62},
        "imagenet_lt": 48.80,
        "inat2018": 68.00,
    },
)
def ldam_drw(p: Protocol) -> ConfigDict:
    """LDAM-DRW: batch 128, x 0.01 and x 1e-4 after 80 and 90 %, weights from 80 % on.

    It has no code for the large data sets, which keep their batch and schedule.
    """
    ldam = c.method("ldam", scale=30.0, max_margin=0.5, reweighting="deferred", beta=0.9999, deferred_percent=80.0)
    schedule = {"cifar10_lt": dict(batch=2, decay_factors=(1e-2, 1e-4)), "imagenet_lt": {}}
    return p.experiment(representation=p.train(ldam, **p.pick(schedule)))
