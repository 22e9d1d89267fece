"""Balanced Softmax (Ren et al. 2020): logit adjustment as a loss at tau = 1 (Menon et al. 2021).

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/balanced_softmax.py:100 --workdir=runs/cifar100_lt/softmax

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import balanced_softmax, cifar_lt


def get_config(imbalance_ratio="100"):
    return balanced_softmax(cifar_lt("cifar100", imbalance_ratio))
