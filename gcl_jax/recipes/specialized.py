"""Rows with a network of their own: two last blocks, a projection beside the classifier, a memory."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol


def bbn(p: Protocol) -> ConfigDict:
    """BBN (Zhou et al. 2020): two last blocks, batch 128, Nesterov, x 0.01 after 60 and 80 %; warm-up from 1/3.

    The published warm-up, 1/3 + (2/15)(e - 1) for e = 1..5, is a rise from 0.2 to 1 in six epochs.
    """
    schedule = dict(warmup_percent=3.0, warmup_start=0.2, boundaries_percent=(60.0, 80.0), decay_factors=(1e-2, 1e-4))
    return p.experiment(
        experts=2, representation=p.train(c.method("bbn"), batch=2, nesterov=True, **schedule)
    )  # fmt: skip


def tde(p: Protocol) -> ConfigDict:
    """De-confound-TDE (Tang et al. 2020): two last blocks, batch 256 at rate 0.2, weight decay 5e-4.

    x 0.01 and x 1e-4 from epochs 120 and 160 of 200 on; alpha 1.0, and 1.5 on CIFAR-100.
    """
    schedule = dict(
        warmup_percent=2.5, warmup_start=1 / 3, boundaries_percent=(59.5, 79.5), decay_factors=(1e-2, 1e-4)
    )  # fmt: skip
    method = c.method("tde", scale=16.0, alpha=1.5 if p.dataset == "cifar100" else 1.0, decay=0.9)
    return p.experiment(
        experts=2, representation=p.train(method, batch=4, rate=2.0, weight_decay=5e-4, **schedule)
    )  # fmt: skip


def _hybrid(p, **hyperparameters):
    # Batch 512, rate 0.5, weight decay 1e-4, x 0.1 after 60 and 80 %; no warm-up is stated.
    schedule = dict(warmup_percent=0.0, boundaries_percent=(60.0, 80.0), decay_factors=(0.1, 0.01), weight_decay=1e-4)
    method = c.method("hybrid_sc", **hyperparameters)
    return p.experiment(representation=p.train(method, batch=8, rate=5.0, **schedule))


def hybrid_sc(p: Protocol) -> ConfigDict:
    """Hybrid-SC (Wang et al. 2021): supervised contrast in two views, temperature 0.1; batch 512 at rate 0.5."""
    return _hybrid(p, contrast="supervised", temperature=0.1)


def hybrid_psc(p: Protocol) -> ConfigDict:
    """Hybrid-PSC (Wang et al. 2021): contrast with learned prototypes, temperature 1, and 0.1 on CIFAR-100."""
    temperature = 0.1 if p.dataset == "cifar100" else 1.0
    return _hybrid(p, contrast="prototypical", temperature=temperature)


def oltr(p: Protocol) -> ConfigDict:
    """CE, then OLTR (Liu et al. 2019): attention, memory and meta-embedding, all trained; class-aware batches.

    It has no recipe for CIFAR. Its second stage is ImageNet-LT's: 60 epochs, batch 128, rate 0.1, and 0.01 for
    backbone, attention and centroids, x 0.1 every 20 epochs, weight decay 5e-4.
    """
    schedule = dict(schedule="step", boundaries_percent=(100 / 3, 200 / 3), decay_factors=(0.1, 0.01))
    return p.experiment(
        representation=p.train(c.method("cross_entropy"), alone=False),
        meta_embedding=p.retrain(
            c.method("oltr"),
            sampler=c.sampler("class_aware", per_class=4),
            epochs=60,
            learning_rate=0.1,
            bn="train",
            batch=2,
            weight_decay=5e-4,
            lr_mult=("backbone/|head/(attention|feature_)=0.1", "head/centroids=0.1"),
            **schedule,
        ),
    )
