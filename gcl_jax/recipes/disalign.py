"""DisAlign (Zhang et al. 2021)."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe


@recipe("DisAlign", published={"imagenet_lt": 52.91, "inat2018": 70.06, "places_lt": 39.30})
def disalign(p: Protocol) -> ConfigDict:
    """CE, then DisAlign in the paper's form: 10 epochs, rho 1.2; batch norm updates.

    Its second stage was published for ResNeXt-50 on ImageNet-LT alone, rate 0.1 at batch 256, which is scaled here.
    """
    aligned = p.retrain(
        c.method("disalign", form="paper", rho=1.2),
        sampler=c.sampler("instance"),
        epochs=10,
        learning_rate=p.scaled(0.1),
        bn="stats_only",
    )
    return p.experiment(representation=p.train(c.method("cross_entropy"), alone=False), classifier=aligned)
