"""CE, then cRT (Kang et al. 2020): a fresh classifier, class-aware batches, 10 epochs; batch norm updates.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/crt.py:100 --workdir=runs/cifar10_lt/crt

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, crt


def get_config(imbalance_ratio="100"):
    return crt(cifar_lt("cifar10", imbalance_ratio))
