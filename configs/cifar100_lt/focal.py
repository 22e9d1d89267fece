"""Focal loss, gamma 1 as in LDAM's script, without its class weights.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/focal.py:100 --workdir=runs/cifar100_lt/focal

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, focal


def get_config(imbalance_ratio="100"):
    return focal(cifar_lt("cifar100", imbalance_ratio))
