"""Hybrid-SC (Wang et al. 2021): supervised contrast in two views, temperature 0.1; batch 512 at rate 0.5.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/hybrid_sc.py:100 --workdir=runs/cifar100_lt/hybrid_sc

The argument after the colon is the imbalance ratio. No code of the original could be had: it follows the paper.
Published top-1 (best on test, single run), ratio 100 / 50: 46.72 / 51.87.
"""

from gcl_jax.recipes import cifar_lt, hybrid_sc


def get_config(imbalance_ratio="100"):
    return hybrid_sc(cifar_lt("cifar100", imbalance_ratio))
