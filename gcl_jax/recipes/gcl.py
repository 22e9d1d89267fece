"""GCL (Li et al. 2022), and its ablations: the sampler, the kind of re-training, the angular form."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.retraining import TAUS


def _first(p, name="gcl", **hyperparameters):
    clouded = dict(scale=30.0, margin=0.0, noise_multiplier=0.5, mixup_alpha=p.mixup_alpha)
    return p.train(c.method(name, **clouded, **hyperparameters), alone=False)


def _second(p: Protocol, sampler: Mapping, name="gcl", trainable="head/", head="cosine", **hyperparameters) -> dict:
    # 0.002 is the published code's effective rate: its schedule and its parameter group multiply 0.1 by 0.1 and 0.2.
    clouded = dict(scale=20.0, margin=0.1, noise_multiplier=0.5, focal_gamma=1.0, mixup_alpha=p.mixup_alpha)
    method = c.method(name, **(clouded | hyperparameters))
    stage = dict(trainable=trainable, head=head)
    return p.retrain(method, sampler=sampler, epochs=30, learning_rate=0.002, bn="frozen", stage=stage)


def _gcl(p, sampler, **hyperparameters):
    return p.experiment(representation=_first(p), classifier=_second(p, sampler, **hyperparameters))


def gcl(p: Protocol) -> ConfigDict:
    """GCL as the paper has it: clouded logits, then the classifier on CBEN batches, a = 0.999 and b = 0.0009."""
    return _gcl(p, c.sampler("cben", a=0.999, b=0.0009))


def gcl_published(p: Protocol) -> ConfigDict:
    """GCL as the published code runs it: class-balanced batches in stage 2, which goes on from the last epoch."""
    return _gcl(p, c.sampler("class_balanced"))


def gcl_instance_balanced(p: Protocol) -> ConfigDict:
    """GCL with instance-balanced batches in stage 2 (Table 4)."""
    return _gcl(p, c.sampler("instance"))


def gcl_effective_number(p: Protocol) -> ConfigDict:
    """GCL with effective-number batches in stage 2, beta 0.9999 (Table 4)."""
    return _gcl(p, c.sampler("effective_number", beta=0.9999))


def gcl_lws(p: Protocol) -> ConfigDict:
    """GCL whose stage 2 learns one factor a class, on CBEN batches (Table 5)."""
    return _gcl(p, c.sampler("cben", a=0.999, b=0.0009), trainable="head/scale", head="cosine_lws")


def gcl_tau_norm(p: Protocol) -> ConfigDict:
    """GCL, and tau-normalisation of the classifier that CBEN batches re-trained (Table 5; our reading).

    A cosine head ignores the norms of its kernel, so tau = 1 is GCL itself and 0 the stored kernel's norms.
    """
    config = p.experiment(
        representation=_first(p),
        classifier=_second(p, c.sampler("cben", a=0.999, b=0.0009)),
        tau_norm=p.training_free(c.method("tau_norm", scale=20.0), head="half_cosine"),
    )
    config.tuning.update(key="tau_norm.method.tau", grid=TAUS, validation_fraction=0.1)
    return config


def gcl_angular(p: Protocol) -> ConfigDict:
    """Angular GCL (TAI 2024), on CIFAR with the two stages of GCL: it has no recipe there."""
    return p.experiment(
        representation=_first(p, "gcl_angular"),
        classifier=_second(p, c.sampler("cben", a=0.999, b=0.0009), "gcl_angular", margin=0.0, scale=30.0),
    )
