"""MiSLAS (Zhong et al. 2021): CE + mixup, then label-aware smoothing on scaled logits; batches of 128.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/mislas.py:100 --workdir=runs/cifar100_lt/mislas

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 42.33 / 47.5 / 52.62.
MiSLAS's own README, ratio 100 / 50 / 10: 47.0 / 52.3 / 63.2.
"""

from gcl_jax.recipes import cifar_lt, mislas


def get_config(imbalance_ratio="100"):
    return mislas(cifar_lt("cifar100", imbalance_ratio))
