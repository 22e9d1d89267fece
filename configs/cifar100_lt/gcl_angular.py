"""Angular GCL (TAI 2024), on CIFAR with the two stages of GCL: it has no recipe there.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/gcl_angular.py:100 --workdir=runs/cifar100_lt/gcl_angular

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, gcl_angular


def get_config(imbalance_ratio="100"):
    return gcl_angular(cifar_lt("cifar100", imbalance_ratio))
