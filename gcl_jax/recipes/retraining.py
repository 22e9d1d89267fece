"""Rows that train a network with cross-entropy and then re-train or re-make its classifier.

Decoupling and DisAlign have no recipe for CIFAR: batch size and rate are scaled from ImageNet-LT's to the protocol's
batch (0.2 at 512 and 0.1 at 256 are 0.025 at 64); weight decay is, as there, that of stage 1. Frozen batch norm is
in training mode, as in their code: its statistics still update ("stats_only").
"""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol

# Imbalance ratio: (smoothing of the head, of the tail, whether batch norm shifts, classifier's rate factor).
MISLAS = {
    "cifar10": {100: (0.3, 0.0, False, 0.5), 50: (0.2, 0.0, False, 0.2), 10: (0.1, 0.0, False, 0.2)},
    "cifar100": {100: (0.4, 0.1, True, 0.2), 50: (0.3, 0.0, True, 0.1), 10: (0.2, 0.0, True, 0.1)},
}
TAUS = tuple(i / 10 for i in range(21))  # Decoupling's grid


def ce_mixup_crt(p: Protocol) -> ConfigDict:
    """CE + mixup, then its classifier goes on, class-balanced (GCL's script, --loss_type CE): 30 epochs at 0.002."""
    again = c.method("cross_entropy", mixup_alpha=p.mixup_alpha)
    return p.experiment(
        representation=p.train(c.method("cross_entropy", mixup_alpha=1.0), alone=False),
        classifier=p.retrain(
            again, sampler=c.sampler("class_balanced"), epochs=30, learning_rate=0.002, bn="frozen",
            stage=dict(trainable="head/"),
        ),
    )  # fmt: skip


def crt(p: Protocol) -> ConfigDict:
    """CE, then cRT (Kang et al. 2020): a fresh classifier, class-aware batches, 10 epochs; batch norm updates."""
    again = c.method("cross_entropy")
    return p.experiment(
        representation=p.train(c.method("cross_entropy"), alone=False),
        classifier=p.retrain(
            again, sampler=c.sampler("class_aware", per_class=4), epochs=10, learning_rate=0.025, bn="stats_only",
            stage=dict(trainable="head/", restore="backbone/"),
        ),
    )  # fmt: skip


def lws(p: Protocol) -> ConfigDict:
    """CE, then learnable weight scaling (Kang et al. 2020): class-aware batches, 5 epochs; batch norm updates."""
    scaling = c.method("cross_entropy")
    return p.experiment(
        representation=p.train(c.method("cross_entropy"), alone=False),
        classifier=p.retrain(
            scaling, sampler=c.sampler("class_aware", per_class=4), epochs=5, learning_rate=0.025, bn="stats_only",
            stage=dict(trainable="head/scale", head="linear_lws"),
        ),
    )  # fmt: skip


def tau_norm(p: Protocol) -> ConfigDict:
    """CE, then tau-normalisation (Kang et al. 2020), tau chosen on a tenth of the training images held out."""
    config = p.experiment(
        representation=p.train(c.method("cross_entropy")), tau_norm=p.training_free(c.method("tau_norm"))
    )
    config.tuning.update(key="tau_norm.method.tau", grid=TAUS, validation_fraction=0.1)
    return config


def nearest_class_mean(p: Protocol) -> ConfigDict:
    """CE, then the nearest class mean of centred, normalised features (Kang et al. 2020)."""
    means = c.method("nearest_class_mean", variant="cl2n")
    return p.experiment(representation=p.train(c.method("cross_entropy")), nearest_class_mean=p.training_free(means))


def disalign(p: Protocol) -> ConfigDict:
    """CE, then DisAlign in the paper's form (Zhang et al. 2021): 10 epochs, rho 1.2; batch norm updates."""
    aligned = c.method("disalign", form="paper", rho=1.2)
    return p.experiment(
        representation=p.train(c.method("cross_entropy"), alone=False),
        classifier=p.retrain(
            aligned, sampler=c.sampler("instance"), epochs=10, learning_rate=0.025, bn="stats_only"
        ),
    )  # fmt: skip


def mislas(p: Protocol) -> ConfigDict:
    """MiSLAS (Zhong et al. 2021): CE + mixup, then label-aware smoothing on scaled logits; batches of 128.

    Ratios that it has no setting for take that of 100, and data sets other than CIFAR take CIFAR-10's.
    """
    settings = MISLAS.get(p.dataset, MISLAS["cifar10"])
    head, tail, shifted, factor = settings.get(p.imbalance_ratio, settings[100])
    smoothed = c.method("mislas", smoothing_head=head, smoothing_tail=tail)
    return p.experiment(
        representation=p.train(c.method("cross_entropy", mixup_alpha=1.0), alone=False, batch=2),
        classifier=p.retrain(
            smoothed,
            sampler=c.sampler("class_aware", per_class=4),
            epochs=10,
            learning_rate=0.1,
            bn="stats_only" if shifted else "frozen",
            batch=2,
            lr_mult=(f"head/(kernel|bias)$={factor}",),
        ),
    )
