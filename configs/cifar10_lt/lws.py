"""CE, then learnable weight scaling (Kang et al. 2020): class-aware batches, 5 epochs; batch norm updates.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/lws.py:100 --workdir=runs/cifar10_lt/lws

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, lws


def get_config(imbalance_ratio="100"):
    return lws(cifar_lt("cifar10", imbalance_ratio))
