"""CE, then the nearest class mean of centred, normalised features (Kang et al. 2020).

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/nearest_class_mean.py:100 --workdir=runs/cifar10_lt/mean

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, nearest_class_mean


def get_config(imbalance_ratio="100"):
    return nearest_class_mean(cifar_lt("cifar10", imbalance_ratio))
