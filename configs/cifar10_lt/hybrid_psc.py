"""Hybrid-PSC (Wang et al. 2021): contrast with learned prototypes, temperature 1, and 0.1 on CIFAR-100.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/hybrid_psc.py:100 --workdir=runs/cifar10_lt/hybrid_psc

The argument after the colon is the imbalance ratio. No code of the original could be had: it follows the paper.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, hybrid_psc


def get_config(imbalance_ratio="100"):
    return hybrid_psc(cifar_lt("cifar10", imbalance_ratio))
