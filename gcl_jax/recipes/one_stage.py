"""Rows that train one network once: cross-entropy, re-weighted and adjusted losses."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol


def ce(p: Protocol) -> ConfigDict:
    """Cross-entropy."""
    return p.experiment(representation=p.train(c.method("cross_entropy")))


def ce_mixup(p: Protocol) -> ConfigDict:
    """Cross-entropy with mixup, alpha 1 (Zhang et al. 2018)."""
    return p.experiment(representation=p.train(c.method("cross_entropy", mixup_alpha=1.0)))


def focal(p: Protocol) -> ConfigDict:
    """Focal loss, gamma 1 as in LDAM's script, without its class weights."""
    return p.experiment(representation=p.train(c.method("cross_entropy", focal_gamma=1.0)))


def class_balanced_loss(p: Protocol) -> ConfigDict:
    """Cross-entropy weighted by effective numbers, beta 0.9999, from the start (Cui et al. 2019)."""
    return p.experiment(representation=p.train(c.method("cross_entropy", reweighting="effective_number", beta=0.9999)))


def ldam_drw(p: Protocol) -> ConfigDict:
    """LDAM-DRW (Cao et al. 2019): batch 128, x 0.01 and x 1e-4 after 80 and 90 %, weights from 80 % on."""
    ldam = c.method("ldam", scale=30.0, max_margin=0.5, reweighting="deferred", beta=0.9999, deferred_percent=80.0)
    return p.experiment(representation=p.train(ldam, batch=2, decay_factors=(1e-2, 1e-4)))


def balanced_softmax(p: Protocol) -> ConfigDict:
    """Balanced Softmax (Ren et al. 2020): logit adjustment as a loss at tau = 1 (Menon et al. 2021)."""
    return p.experiment(representation=p.train(c.method("logit_adjustment", tau=1.0)))


def logit_adjustment_posthoc(p: Protocol) -> ConfigDict:
    """Cross-entropy, its logits adjusted after training by tau = 1 (Menon et al. 2021)."""
    config = ce(p)
    config.posthoc.logit_adjustment = 1.0
    return config
