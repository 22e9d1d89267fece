"""GCL, and tau-normalisation of the classifier that CBEN batches re-trained (Table 5; our reading).

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/gcl_tau_norm.py:100 --workdir=runs/cifar10_lt/gcl_tau_norm

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 100: 82.16.

Training runs twice: once with a tenth of the training images held out, to choose tau.
"""

from gcl_jax.recipes import cifar_lt, gcl_tau_norm


def get_config(imbalance_ratio="100"):
    return gcl_tau_norm(cifar_lt("cifar10", imbalance_ratio))
