"""CE, then DisAlign in the paper's form (Zhang et al. 2021): 10 epochs, rho 1.2, batch norm updates.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/disalign.py:100 --workdir=runs/cifar10_lt/disalign

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, disalign


def get_config(imbalance_ratio="100"):
    return disalign(cifar_lt("cifar10", imbalance_ratio))
