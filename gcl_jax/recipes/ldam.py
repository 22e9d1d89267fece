"""LDAM-DRW (Cao et al. 2019)."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe

# Factor of the batch, and factors of the rate after the boundaries; () = the protocol's.
SCHEDULE: Mapping[str, tuple[float, tuple[float, ...]]] = {"cifar10_lt": (2, (1e-2, 1e-4)), "imagenet_lt": (1, ())}


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
    batch, decay_factors = p.pick(SCHEDULE)
    decay: dict[str, Any] = {"decay_factors": decay_factors} if decay_factors else {}
    return p.experiment(representation=p.train(ldam, batch=batch, **decay))
