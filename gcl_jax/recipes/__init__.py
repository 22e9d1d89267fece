"""Recipes: the rows of the comparison, each a function from a data set's protocol to a config.

Config files are one of these and a data set; a row then differs from the next in its method and in nothing else.
Batch sizes, rates and epochs in the docstrings are those under `cifar_lt`.
"""

from gcl_jax.recipes.gcl import (
    gcl,
    gcl_angular,
    gcl_effective_number,
    gcl_instance_balanced,
    gcl_lws,
    gcl_published,
    gcl_tau_norm,
)
from gcl_jax.recipes.one_stage import (
    balanced_softmax,
    ce,
    ce_mixup,
    class_balanced_loss,
    focal,
    ldam_drw,
    logit_adjustment_posthoc,
)
from gcl_jax.recipes.photographs import folder, photos_lt
from gcl_jax.recipes.protocol import Protocol, cifar_lt, digits_lt
from gcl_jax.recipes.retraining import ce_mixup_crt, crt, disalign, lws, mislas, nearest_class_mean, tau_norm
from gcl_jax.recipes.specialized import bbn, hybrid_psc, hybrid_sc, oltr, tde

__all__ = [
    "Protocol",
    "balanced_softmax",
    "bbn",
    "ce",
    "ce_mixup",
    "ce_mixup_crt",
    "cifar_lt",
    "class_balanced_loss",
    "crt",
    "digits_lt",
    "disalign",
    "focal",
    "folder",
    "gcl",
    "gcl_angular",
    "gcl_effective_number",
    "gcl_instance_balanced",
    "gcl_lws",
    "gcl_published",
    "gcl_tau_norm",
    "hybrid_psc",
    "hybrid_sc",
    "ldam_drw",
    "logit_adjustment_posthoc",
    "lws",
    "mislas",
    "nearest_class_mean",
    "oltr",
    "photos_lt",
    "tau_norm",
    "tde",
]
