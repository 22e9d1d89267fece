"""GCL (Li et al. 2022), and its ablations: the sampler, the kind of re-training, the angular form."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.decoupling import TAUS
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe

NOISE_MULTIPLIER = {"cifar10_lt": 0.5, "places_lt": 1.0}
FIRST_MIXUP_ALPHA = {"cifar10_lt": 1.0, "digits_lt": 0.0, "photos_lt": 0.2, "imagenet_lt": 0.2}
SECOND_MIXUP_ALPHA = {"cifar10_lt": 1.0, "digits_lt": 0.0, "photos_lt": 0.2}
SECOND_SCALE = {"cifar10_lt": 20.0, "places_lt": 15.0}
PUBLISHED: Mapping[str, float | Mapping[int, float]] = {
    "cifar10_lt": {200: 79.03, 100: 82.68, 50: 85.46},
    "cifar100_lt": {200: 44.88, 100: 48.71, 50: 53.55},
    "imagenet_lt": 54.88,
    "inat2018": 72.01,
    "places_lt": 40.64,
}


def _first(p: Protocol, name: str = "gcl") -> dict:
    clouded = c.method(
        name,
        scale=30.0,
        margin=0.0,
        noise_multiplier=p.pick(NOISE_MULTIPLIER),
        mixup_alpha=p.pick(FIRST_MIXUP_ALPHA),
    )
    return p.train(clouded, alone=False)


def _second(
    p: Protocol,
    sampler: Mapping,
    name: str = "gcl",
    trainable: str = "head/",
    head: str = "cosine",
    **hyperparameters: object,
) -> dict:
    # 0.002 is the published code's effective rate: its schedule and its parameter group multiply 0.1 by 0.1 and 0.2.
    default = dict(
        scale=p.pick(SECOND_SCALE),
        margin=0.1,
        noise_multiplier=p.pick(NOISE_MULTIPLIER),
        focal_gamma=1.0,
        mixup_alpha=p.pick(SECOND_MIXUP_ALPHA),
    )
    method = c.method(name, **(default | hyperparameters))
    stage = dict(trainable=trainable, head=head)
    return p.retrain(method, sampler=sampler, epochs=30, learning_rate=0.002, bn="frozen", stage=stage)


def _cben():
    return c.sampler("cben", a=0.999, b=0.0009)


@recipe("GCL", published=PUBLISHED)
def gcl(p: Protocol) -> ConfigDict:
    """GCL as the paper has it: clouded logits, then the classifier on CBEN batches, a = 0.999 and b = 0.0009.

    Everything but the sampler equals gcl_published. The paper names CBEN; its code's default sampler is class-balanced,
    and its CBEN (a = 0.9999, b = 1e-5) is nearly so. Mixup in both stages, but on digits. The
    authors suggest to leave it out of stage 2 on the large data sets; here it is in.
    """
    return p.experiment(representation=_first(p), classifier=_second(p, _cben()))


@recipe("GCL, as its code runs", published=PUBLISHED)
def gcl_published(p: Protocol) -> ConfigDict:
    """GCL as the published code runs it: class-balanced batches in stage 2, which goes on from the last epoch.

    The stage-2 rate of 0.002 is the effective one of the published code, as the log that it prints shows: the cosine
    schedule starts at 0.2 of the given 0.1, of which the parameter group takes 0.1. The code's first release made it
    0.008, or 0.004 with the rate in its README; which of them made the tables is not known. Table 4 has a row of its
    own for class-balanced sampling.
    """
    return p.experiment(representation=_first(p), classifier=_second(p, c.sampler("class_balanced")))


@recipe("GCL, instance-balanced", published={"cifar10_lt": {100: 80.41}})
def gcl_instance_balanced(p: Protocol) -> ConfigDict:
    """GCL with instance-balanced batches in stage 2 (Table 4)."""
    return p.experiment(representation=_first(p), classifier=_second(p, c.sampler("instance")))


@recipe("GCL, effective number", published={"cifar10_lt": {100: 82.47}})
def gcl_effective_number(p: Protocol) -> ConfigDict:
    """GCL with effective-number batches in stage 2, beta 0.9999 (Table 4)."""
    sampler = c.sampler("effective_number", beta=0.9999)
    return p.experiment(representation=_first(p), classifier=_second(p, sampler))


@recipe("GCL + LWS", published={"cifar10_lt": {100: 82.25}})
def gcl_lws(p: Protocol) -> ConfigDict:
    """GCL whose stage 2 learns one factor a class, on CBEN batches (Table 5)."""
    scaling = _second(p, _cben(), trainable="head/scale", head="cosine_lws")
    return p.experiment(representation=_first(p), classifier=scaling)


@recipe("GCL + tau-norm", published={"cifar10_lt": {100: 82.16}})
def gcl_tau_norm(p: Protocol) -> ConfigDict:
    """GCL, and tau-normalisation of the classifier that CBEN batches re-trained (Table 5; our reading).

    A cosine head ignores the norms of its kernel, so tau = 1 is GCL itself and 0 the stored kernel's norms. Training
    runs twice: once with a tenth of the training images held out, to choose tau.
    """
    config = p.experiment(
        representation=_first(p),
        classifier=_second(p, _cben()),
        tau_norm=p.training_free(c.method("tau_norm", scale=20.0), head="half_cosine"),
    )
    config.tuning.update(key="tau_norm.method.tau", grid=TAUS, validation_fraction=0.1)
    return config


@recipe("angular GCL")
def gcl_angular(p: Protocol) -> ConfigDict:
    """Angular GCL (TAI 2024), on CIFAR with the two stages of GCL: it has no recipe there."""
    second = _second(p, _cben(), "gcl_angular", margin=0.0, scale=30.0)
    return p.experiment(representation=_first(p, "gcl_angular"), classifier=second)
