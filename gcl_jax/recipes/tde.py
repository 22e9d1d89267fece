"""De-confound-TDE (Tang et al. 2020)."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe

ALPHA = {"cifar10_lt": 1.0, "cifar100_lt": 1.5}


@recipe(
    "De-confound-TDE",
    published={"cifar10_lt": {100: 80.60, 50: 83.60}, "cifar100_lt": {100: 44.15, 50: 50.31}},
)
def tde(p: Protocol) -> ConfigDict:
    """De-confound-TDE: two last blocks, as its original has, batch 256 at rate 0.2, weight decay 5e-4.

    x 0.01 and x 1e-4 from epochs 120 and 160 of 200 on; alpha 1.0, and 1.5 on CIFAR-100.
    """
    return p.experiment(
        experts=2,
        representation=p.train(
            c.method("tde", scale=16.0, alpha=p.pick(ALPHA), decay=0.9),
            batch=4,
            rate=2.0,
            weight_decay=5e-4,
            schedule="step",
            warmup_percent=2.5,
            warmup_start=1 / 3,
            boundaries_percent=(59.5, 79.5),
            decay_factors=(1e-2, 1e-4),
        ),
    )
