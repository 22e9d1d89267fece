"""Cross-entropy with mixup, alpha 1 (Zhang et al. 2018).

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/ce_mixup.py:100 --workdir=runs/cifar100_lt/ce_mixup

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 35.84 / 40.01 / 45.16.
"""

from gcl_jax.recipes import ce_mixup, cifar_lt


def get_config(imbalance_ratio="100"):
    return ce_mixup(cifar_lt("cifar100", imbalance_ratio))
