"""BBN (Zhou et al. 2020)."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe


@recipe(
    "BBN",
    published={
        "cifar10_lt": {200: 73.47, 100: 79.82, 50: 81.18},
        "cifar100_lt": {200: 37.21, 100: 42.56, 50: 47.02},
    },
)
def bbn(p: Protocol) -> ConfigDict:
    """BBN: two last blocks, as its original has, batch 128, Nesterov, x 0.01 after 60 and 80 %; warm-up from 1/3.

    The published warm-up, 1/3 + (2/15)(e - 1) for e = 1..5, is a rise from 0.2 to 1 in six epochs. Its own paper has
    82.18 on CIFAR-10-LT at ratio 50.
    """
    return p.experiment(
        experts=2,
        representation=p.train(
            c.method("bbn"),
            batch=2,
            nesterov=True,
            schedule="step",
            warmup_percent=3.0,
            warmup_start=0.2,
            boundaries_percent=(60.0, 80.0),
            decay_factors=(1e-2, 1e-4),
        ),
    )
