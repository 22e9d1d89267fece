"""Cross-entropy.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/ce.py:100 --workdir=runs/cifar10_lt/ce

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 65.68 / 70.7 / 74.81.
"""

from gcl_jax.recipes import ce, cifar_lt


def get_config(imbalance_ratio="100"):
    return ce(cifar_lt("cifar10", imbalance_ratio))
