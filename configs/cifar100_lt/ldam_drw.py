"""LDAM-DRW (Cao et al. 2019): batch 128, x 0.01 and x 1e-4 after 80 and 90 %, weights from 80 % on.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/ldam_drw.py:100 --workdir=runs/cifar100_lt/ldam_drw

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 38.91 / 42.04 / 47.62.
"""

from gcl_jax.recipes import cifar_lt, ldam_drw


def get_config(imbalance_ratio="100"):
    return ldam_drw(cifar_lt("cifar100", imbalance_ratio))
