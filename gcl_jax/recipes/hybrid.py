"""Contrastive learning beside the classifier (Wang et al. 2021); no code of theirs could be had: after the paper."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe

PROTOTYPE_TEMPERATURE = {"cifar10_lt": 1.0, "cifar100_lt": 0.1}


def _hybrid(p, **hyperparameters):
    # Batch 512, rate 0.5, weight decay 1e-4, x 0.1 after 60 and 80 %; no warm-up is stated.
    return p.experiment(
        representation=p.train(
            c.method("hybrid_sc", **hyperparameters),
            batch=8,
            rate=5.0,
            weight_decay=1e-4,
            schedule="step",
            warmup_percent=0.0,
            boundaries_percent=(60.0, 80.0),
            decay_factors=(0.1, 0.01),
        )
    )


@recipe(
    "contrastive learning (Hybrid-SC)",
    published={"cifar10_lt": {100: 81.40, 50: 85.36}, "cifar100_lt": {100: 46.72, 50: 51.87}},
)
def hybrid_sc(p: Protocol) -> ConfigDict:
    """Hybrid-SC: supervised contrast in two views, temperature 0.1; batch 512 at rate 0.5."""
    return _hybrid(p, contrast="supervised", temperature=0.1)


@recipe("Hybrid-PSC")
def hybrid_psc(p: Protocol) -> ConfigDict:
    """Hybrid-PSC: contrast with learned prototypes, temperature 1, and 0.1 on CIFAR-100; batch 512 at rate 0.5."""
    return _hybrid(p, contrast="prototypical", temperature=p.pick(PROTOTYPE_TEMPERATURE))
