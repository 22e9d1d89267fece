"""Cross-entropy.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/ce.py:100 --workdir=runs/cifar100_lt/ce

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 34.84 / 38.43 / 43.9.
"""

from gcl_jax.recipes import ce, cifar_lt


def get_config(imbalance_ratio="100"):
    return ce(cifar_lt("cifar100", imbalance_ratio))
