"""Cross-entropy weighted by effective numbers, beta 0.9999, from the start (Cui et al. 2019).

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/class_balanced_loss.py:100 --workdir=runs/cifar100_lt/loss

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, class_balanced_loss


def get_config(imbalance_ratio="100"):
    return class_balanced_loss(cifar_lt("cifar100", imbalance_ratio))
