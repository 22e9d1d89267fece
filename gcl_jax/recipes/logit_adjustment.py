"""Logit adjustment (Menon et al. 2021), as a loss and after training; as a loss it is Balanced Softmax."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.ce import ce
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe


@recipe("Balanced Softmax = logit adjustment, loss")
def balanced_softmax(p: Protocol) -> ConfigDict:
    """Balanced Softmax (Ren et al. 2020): logit adjustment as a loss at tau = 1 (Menon et al. 2021)."""
    return p.experiment(representation=p.train(c.method("logit_adjustment", tau=1.0)))


@recipe("logit adjustment", published={"imagenet_lt": 51.11, "inat2018": 66.36})
def logit_adjustment(p: Protocol) -> ConfigDict:
    """Logit adjustment as a loss, tau 1, as Table 2 names it: the same as `balanced_softmax`."""
    return balanced_softmax(p)


@recipe("logit adjustment, post hoc")
def logit_adjustment_posthoc(p: Protocol) -> ConfigDict:
    """Cross-entropy, its logits adjusted after training by tau = 1."""
    config = ce(p)
    config.posthoc.logit_adjustment = 1.0
    return config
