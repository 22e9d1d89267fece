"""Hybrid-SC (Wang et al. 2021): supervised contrast in two views, temperature 0.1; batch 512 at rate 0.5.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/hybrid_sc.py:100 --workdir=runs/cifar10_lt/hybrid_sc

The argument after the colon is the imbalance ratio. No code of the original could be had: it follows the paper.
Published top-1 (best on test, single run), ratio 100 / 50: 81.4 / 85.36.
"""

from gcl_jax.recipes import cifar_lt, hybrid_sc


def get_config(imbalance_ratio="100"):
    return hybrid_sc(cifar_lt("cifar10", imbalance_ratio))
