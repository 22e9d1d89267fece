"""Rows of Table 2, each a function from a large-scale protocol to a config.

Where a method has a recipe for these data, its second stage is that; cRT, LWS and DisAlign scale their published rate
(0.2 at batch 512, 0.1 at 256) with the batch.
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
    """CE, then learnable weight scaling (Kang et al. 2020), the "Decoupling" of Table 2: 5 epochs, statistics move."""
    scaling = c.method("cross_entropy", trains="scale", head="linear_lws")
    aware = c.sampler("class_aware", per_class=4)
    return p.experiment(
        representation=p.first("cross_entropy"),
        classifier=p.second(scaling, aware, epochs=5, learning_rate=p.scaled(0.1), bn="stats_only"),
    )


def ce_mixup_crt(p: LargeScale) -> ConfigDict:
    """CE + mixup, then cRT (Kang et al. 2020): a fresh classifier, class-aware batches, 10 epochs or 30."""
    again = c.method("cross_entropy", trains="classifier", fresh_head=True)
    aware = c.sampler("class_aware", per_class=4)
    return p.experiment(
        representation=p.first("cross_entropy", mixup_alpha=0.2),
        classifier=p.second(again, aware, epochs=p.crt_epochs, learning_rate=p.scaled(0.1), bn="stats_only"),
    )


def disalign(p: LargeScale) -> ConfigDict:
    """CE, then DisAlign in the paper's form (Zhang et al. 2021): 10 epochs, rho 1.2; statistics move."""
    aligned = c.method("disalign", form="paper", rho=1.2)
    return p.experiment(
        representation=p.first("cross_entropy"),
        classifier=p.second(aligned, c.sampler("instance"), epochs=10, learning_rate=p.scaled(0.1), bn="stats_only"),
    )


def mislas(p: LargeScale) -> ConfigDict:
    """MiSLAS (Zhong et al. 2021): CE + mixup 0.2, then label-aware smoothing on scaled logits, 10 epochs."""
    head, tail = p.smoothing
    smoothed = c.method("mislas", smoothing_head=head, smoothing_tail=tail, classifier_lr_factor=0.05)
    aware = c.sampler("class_aware", per_class=4)
    return p.experiment(
        representation=p.first("cross_entropy", mixup_alpha=0.2),
        classifier=p.second(smoothed, aware, epochs=10, learning_rate=0.1, bn="stats_only", batch_size=256),
    )


def gcl(p: LargeScale) -> ConfigDict:
    """GCL: clouded logits with mixup 0.2, then the classifier on CBEN batches, 30 epochs at 0.002, without mixup."""
    noise, scale = p.clouds["noise_multiplier"], p.clouds["scale"]
    again = c.method("gcl", trains="classifier", scale=scale, margin=0.1, noise_multiplier=noise, focal_gamma=1.0)
    return p.experiment(
        representation=p.first("gcl", scale=30.0, margin=0.0, noise_multiplier=noise, mixup_alpha=0.2),
        classifier=p.second(again, c.sampler("cben", a=0.999, b=0.0009), epochs=30, learning_rate=0.002, bn="frozen"),
    )
