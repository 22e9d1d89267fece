"""Cross-entropy with mixup, alpha 1 (Zhang et al. 2018).

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/ce_mixup.py:100 --workdir=runs/cifar10_lt/ce_mixup

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 65.84 / 72.96 / 79.48.
"""

from gcl_jax.recipes import ce_mixup, cifar_lt


def get_config(imbalance_ratio="100"):
    return ce_mixup(cifar_lt("cifar10", imbalance_ratio))
