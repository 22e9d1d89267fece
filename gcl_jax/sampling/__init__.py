"""Samplers: class distributions of long-tailed training and the index plans drawn from them.

A sampler is a frozen dataclass of hyper-parameters with two pure functions: the class
probabilities it promises, and the indices of one epoch. Plans are numpy (Philox), made
on the host once per epoch and never saved: they are a function of (seed, stage, stream,
epoch), which is what makes resuming exact without iterator state.
"""

from gcl_jax.registry import Registry
from gcl_jax.sampling.base import Generators, Sampler, epoch_plan, steps_per_epoch
from gcl_jax.sampling.class_aware import ClassAware
from gcl_jax.sampling.instance import Instance
from gcl_jax.sampling.progressive import Progressive
from gcl_jax.sampling.weighted import CBEN, ClassBalanced, EffectiveNumber, Reversed, SquareRoot, WithReplacement

__all__ = [
    "CBEN",
    "SAMPLERS",
    "ClassAware",
    "ClassBalanced",
    "EffectiveNumber",
    "Generators",
    "Instance",
    "Progressive",
    "Reversed",
    "Sampler",
    "SquareRoot",
    "WithReplacement",
    "epoch_plan",
    "steps_per_epoch",
]

SAMPLERS: Registry[type[Sampler]] = Registry(
    "sampler",
    {
        "instance": Instance,
        "square_root": SquareRoot,
        "class_balanced": ClassBalanced,
        "effective_number": EffectiveNumber,
        "cben": CBEN,
        "reversed": Reversed,
        "class_aware": ClassAware,
        "progressive": Progressive,
    },
)
