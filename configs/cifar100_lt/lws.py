"""CE, then learnable weight scaling (Kang et al. 2020): class-aware batches, 5 epochs; batch norm updates.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/lws.py:100 --workdir=runs/cifar100_lt/lws

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, lws


def get_config(imbalance_ratio="100"):
    return lws(cifar_lt("cifar100", imbalance_ratio))
