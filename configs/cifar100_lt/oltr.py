"""CE, then OLTR (Liu et al. 2019): attention, memory and meta-embedding, all trained; class-aware batches.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/oltr.py:100 --workdir=runs/cifar100_lt/oltr

The argument after the colon is the imbalance ratio. No recipe of the original for CIFAR: see the
recipe. Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, oltr


def get_config(imbalance_ratio="100"):
    return oltr(cifar_lt("cifar100", imbalance_ratio))
