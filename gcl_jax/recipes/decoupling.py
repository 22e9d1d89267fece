"""Decoupling (Kang et al. 2020): cross-entropy, and then another classifier: cRT, LWS, tau-norm, nearest class mean.

It has no recipe for CIFAR: batch size and rate are scaled from ImageNet-LT's to the protocol's batch (0.2 at 512 and
0.1 at 256 are 0.025 at 64); weight decay is, as there, that of stage 1. Frozen batch norm is in training mode, as in
its code: its statistics still update ("stats_only").
"""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.ce import MIXUP_ALPHA
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe

CRT_EPOCHS = {"cifar10_lt": 10, "inat2018": 30}
SCRIPT_MIXUP_ALPHA = {"cifar10_lt": 1.0, "digits_lt": 0.0, "photos_lt": 0.2}  # of stage 2 in GCL's script
TAUS = tuple(i / 10 for i in range(21))  # Decoupling's grid


def _crt(p):
    return p.retrain(
        c.method("cross_entropy"),
        sampler=c.sampler("class_aware", per_class=4),
        epochs=p.pick(CRT_EPOCHS),
        learning_rate=p.scaled(0.1),
        bn="stats_only",
        stage=dict(trainable="head/", restore="backbone/"),
    )


def _crt_of_gcls_script(p):
    return p.retrain(
        c.method("cross_entropy", mixup_alpha=p.pick(SCRIPT_MIXUP_ALPHA)),
        sampler=c.sampler("class_balanced"),
        epochs=30,
        learning_rate=0.002,
        bn="frozen",
        stage=dict(trainable="head/"),
    )


@recipe(
    "CE + mixup + cRT",
    published={
        "cifar10_lt": {200: 73.06, 100: 79.15, 50: 84.21},
        "cifar100_lt": {200: 41.73, 100: 45.12, 50: 50.86},
        "imagenet_lt": 51.68,
        "inat2018": 70.16,
        "places_lt": 38.51,
    },
)
def ce_mixup_crt(p: Protocol) -> ConfigDict:
    """CE + mixup, then on the large data sets cRT; elsewhere its classifier goes on, as in GCL's script.

    cRT: a fresh classifier, class-aware batches, 10 epochs or 30 (iNaturalist); batch norm updates. GCL's script with
    --loss_type CE: class-balanced batches, 30 epochs at 0.002; mixup, but on digits.
    """
    first = c.method("cross_entropy", mixup_alpha=p.pick(MIXUP_ALPHA))
    second = p.pick({"cifar10_lt": _crt_of_gcls_script, "imagenet_lt": _crt})
    return p.experiment(representation=p.train(first, alone=False), classifier=second(p))


@recipe("cRT")
def crt(p: Protocol) -> ConfigDict:
    """CE, then cRT: a fresh classifier, class-aware batches, 10 epochs or 30 (iNaturalist); batch norm updates."""
    return p.experiment(representation=p.train(c.method("cross_entropy"), alone=False), classifier=_crt(p))


@recipe("LWS", published={"imagenet_lt": 47.70, "inat2018": 69.49, "places_lt": 37.62})
def lws(p: Protocol) -> ConfigDict:
    """CE, then learnable weight scaling: class-aware batches, 5 epochs; batch norm updates. Table 2's "Decoupling"."""
    scaling = p.retrain(
        c.method("cross_entropy"),
        sampler=c.sampler("class_aware", per_class=4),
        epochs=5,
        learning_rate=p.scaled(0.1),
        bn="stats_only",
        stage=dict(trainable="head/scale", head="linear_lws"),
    )
    return p.experiment(representation=p.train(c.method("cross_entropy"), alone=False), classifier=scaling)


@recipe("tau-norm")
def tau_norm(p: Protocol) -> ConfigDict:
    """CE, then tau-normalisation, tau chosen on a tenth of the training images held out: training runs twice."""
    config = p.experiment(
        representation=p.train(c.method("cross_entropy")), tau_norm=p.training_free(c.method("tau_norm"))
    )
    config.tuning.update(key="tau_norm.method.tau", grid=TAUS, validation_fraction=0.1)
    return config


@recipe("nearest class mean")
def nearest_class_mean(p: Protocol) -> ConfigDict:
    """CE, then the nearest class mean of centered, normalized features."""
    means = c.method("nearest_class_mean", variant="cl2n")
    return p.experiment(representation=p.train(c.method("cross_entropy")), nearest_class_mean=p.training_free(means))
