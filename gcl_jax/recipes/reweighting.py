"""Re-weighted cross-entropy: focal loss, class-balanced loss."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe


@recipe("focal")
def focal(p: Protocol) -> ConfigDict:
    """Focal loss, gamma 1 as in LDAM's script, without its class weights."""
    return p.experiment(representation=p.train(c.method("cross_entropy", focal_gamma=1.0)))


@recipe("class-balanced loss")
def class_balanced_loss(p: Protocol) -> ConfigDict:
    """Cross-entropy weighted by effective numbers, beta 0.9999, from the start (Cui et al. 2019)."""
    return p.experiment(representation=p.train(c.method("cross_entropy", reweighting="effective_number", beta=0.9999)))
