"""MiSLAS (Zhong et al. 2021): CE + mixup, then label-aware smoothing on scaled logits; batches of 128.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/mislas.py:100 --workdir=runs/cifar10_lt/mislas

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 77.31 / 82.06 / 85.16.
MiSLAS's own README, ratio 100 / 50 / 10: 82.5 / 85.7 / 90.0.
"""

from gcl_jax.recipes import cifar_lt, mislas


def get_config(imbalance_ratio="100"):
    return mislas(cifar_lt("cifar10", imbalance_ratio))
