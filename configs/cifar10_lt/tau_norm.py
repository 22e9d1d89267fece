"""CE, then tau-normalisation (Kang et al. 2020), tau chosen on a tenth of the training images held out.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/tau_norm.py:100 --workdir=runs/cifar10_lt/tau_norm

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.

Training runs twice: once with a tenth of the training images held out, to choose tau.
"""

from gcl_jax.recipes import cifar_lt, tau_norm


def get_config(imbalance_ratio="100"):
    return tau_norm(cifar_lt("cifar10", imbalance_ratio))
