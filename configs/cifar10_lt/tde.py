"""De-confound-TDE (Tang et al. 2020): two last blocks, batch 256 at rate 0.2, weight decay 5e-4.

On CIFAR-10-LT, ResNet-32 with its last block twice (the original's, larger than the other rows'):

    python -m gcl_jax.main --config=configs/cifar10_lt/tde.py:100 --workdir=runs/cifar10_lt/tde

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 100 / 50: 80.6 / 83.6.
"""

from gcl_jax.recipes import cifar_lt, tde


def get_config(imbalance_ratio="100"):
    return tde(cifar_lt("cifar10", imbalance_ratio))
