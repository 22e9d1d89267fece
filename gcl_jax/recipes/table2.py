"""Rows of Table 2, each a function from a large-scale protocol to a config.

Where a method has a recipe for these data, its second stage is that; cRT, LWS and DisAlign scale their published rate
(0.2 at batch 512, 0.1 at 256) with the batch. OLTR on Places-LT has a recipe for both stages. DisAlign's, which all its
rows here take over, was published for ResNeXt-50 on ImageNet-LT alone.
"""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.large_scale import LargeScale


def ce(p: LargeScale) -> ConfigDict:
    """Cross-entropy."""
    return p.experiment(representation=p.first("cross_entropy"))


def ce_mixup(p: LargeScale) -> ConfigDict:
    """Cross-entropy with mixup, alpha 0.2 (Zhang et al. 2018)."""
    return p.experiment(representation=p.first("cross_entropy", mixup_alpha=0.2))


def ldam_drw(p: LargeScale) -> ConfigDict:
    """LDAM-DRW (Cao et al. 2019): weights from 80 % of the epochs on; it has no code for these data."""
    deferred = dict(reweighting="deferred", beta=0.9999, deferred_percent=80.0)
    return p.experiment(representation=p.first("ldam", scale=30.0, max_margin=0.5, **deferred))


def logit_adjustment(p: LargeScale) -> ConfigDict:
    """Logit adjustment as a loss, tau 1 (Menon et al. 2021)."""
    return p.experiment(representation=p.first("logit_adjustment", tau=1.0))


def lws(p: LargeScale) -> ConfigDict:
    """CE, then learnable weight scaling (Kang et al. 2020), the "Decoupling" of Table 2: 5 epochs; BN updates."""
    scaling = c.method("cross_entropy")
    factors = dict(trainable="head/scale", head="linear_lws")
    aware = c.sampler("class_aware", per_class=4)
    return p.experiment(
        representation=p.first("cross_entropy"),
        classifier=p.second(scaling, aware, epochs=5, learning_rate=p.scaled(0.1), bn="stats_only", **factors),
    )


def oltr(p: LargeScale) -> ConfigDict:
    """CE, then OLTR (Liu et al. 2019) by its second stage on ImageNet-LT: 60 epochs, all trained.

    Batch 128, rate 0.1, and 0.01 for backbone, attention and centroids, x 0.1 every 20 epochs.
    """
    slow = ("backbone/|head/(attention|feature_)=0.1", "head/centroids=0.1")
    return p.experiment(
        representation=p.first("cross_entropy"),
        meta_embedding=_drawn_to_centroids(epochs=60, learning_rate=0.1, bn="train", lr_mult=slow),
    )


def oltr_places(p: LargeScale) -> ConfigDict:
    """CE behind a feature layer of 512, then OLTR (Liu et al. 2019): its own two stages of 30 epochs, batch 128.

    The first trains the whole published network, rate 0.1 for the classifier and 0.001 for what is before it; the
    second all behind the backbone, whose batch norm updates: 0.01, and 1e-4 for attention and feature layer. x 0.1
    every 10 epochs.
    """
    second = dict(
        trainable="head/",
        head="meta_embedding_512",
        restore="backbone/|head/(feature_)?(kernel|bias)$",
        lr_mult=("head/(attention|feature_)=0.01",),
    )
    return p.experiment(
        representation=c.stage(
            c.method("cross_entropy"),
            c.sampler("instance"),
            head="linear_512",
            restore="backbone/",
            epochs=30,
            batch_size=128,
            init_from=p.published,
            optimizer=c.optimizer(
                learning_rate=0.1, weight_decay=5e-4, lr_mult=("backbone/|head/feature_=0.01",), **_IN_THIRDS
            ),
        ),
        meta_embedding=_drawn_to_centroids(epochs=30, learning_rate=0.01, bn="stats_only", **second),
    )


_IN_THIRDS = dict(schedule="step", boundaries_percent=(100 / 3, 200 / 3), decay_factors=(0.1, 0.01))


def _drawn_to_centroids(*, epochs, learning_rate, bn, lr_mult, **stage):
    return c.stage(
        c.method("oltr"),
        c.sampler("class_aware", per_class=4),
        epochs=epochs,
        batch_size=128,
        bn=bn,
        optimizer=c.optimizer(learning_rate=learning_rate, weight_decay=5e-4, lr_mult=lr_mult, **_IN_THIRDS),
        **stage,
    )


def ce_mixup_crt(p: LargeScale) -> ConfigDict:
    """CE + mixup, then cRT (Kang et al. 2020): a fresh classifier, class-aware batches, 10 epochs or 30."""
    again = c.method("cross_entropy")
    aware = c.sampler("class_aware", per_class=4)
    return p.experiment(
        representation=p.first("cross_entropy", mixup_alpha=0.2),
        classifier=p.second(
            again,
            aware,
            epochs=p.crt_epochs,
            learning_rate=p.scaled(0.1),
            bn="stats_only",
            trainable="head/",
            restore="backbone/",
        ),
    )


def disalign(p: LargeScale) -> ConfigDict:
    """CE, then DisAlign in the paper's form (Zhang et al. 2021): 10 epochs, rho 1.2, batch norm updates."""
    aligned = c.method("disalign", form="paper", rho=1.2)
    return p.experiment(
        representation=p.first("cross_entropy"),
        classifier=p.second(aligned, c.sampler("instance"), epochs=10, learning_rate=p.scaled(0.1), bn="stats_only"),
    )


def mislas(p: LargeScale) -> ConfigDict:
    """MiSLAS (Zhong et al. 2021): CE + mixup 0.2, then label-aware smoothing on scaled logits, 10 epochs."""
    head, tail = p.smoothing
    smoothed = c.method("mislas", smoothing_head=head, smoothing_tail=tail)
    aware = c.sampler("class_aware", per_class=4)
    return p.experiment(
        representation=p.first("cross_entropy", mixup_alpha=0.2),
        classifier=p.second(
            smoothed,
            aware,
            epochs=10,
            learning_rate=0.1,
            bn="stats_only",
            batch_size=256,
            lr_mult=("head/(kernel|bias)$=0.05",),
        ),
    )


def gcl(p: LargeScale) -> ConfigDict:
    """GCL: clouded logits with mixup 0.2, then the classifier on CBEN batches, 30 epochs at 0.002, without mixup."""
    noise, scale = p.clouds["noise_multiplier"], p.clouds["scale"]
    again = c.method("gcl", scale=scale, margin=0.1, noise_multiplier=noise, focal_gamma=1.0)
    return p.experiment(
        representation=p.first("gcl", scale=30.0, margin=0.0, noise_multiplier=noise, mixup_alpha=0.2),
        classifier=p.second(
            again,
            c.sampler("cben", a=0.999, b=0.0009),
            epochs=30,
            learning_rate=0.002,
            bn="frozen",
            trainable="head/",
        ),
    )
