"""BBN (Zhou et al. 2020): two last blocks, batch 128, Nesterov, x 0.01 after 60 and 80 %; warm-up from 1/3.

On CIFAR-10-LT, ResNet-32 with its last block twice (the original's, larger than the other rows'):

    python -m gcl_jax.main --config=configs/cifar10_lt/bbn.py:100 --workdir=runs/cifar10_lt/bbn

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 73.47 / 79.82 / 81.18 (BBN's own paper,
ratio 50: 82.18).
"""

from gcl_jax.recipes import bbn, cifar_lt


def get_config(imbalance_ratio="100"):
    return bbn(cifar_lt("cifar10", imbalance_ratio))
