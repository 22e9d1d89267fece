"""CE + mixup, then its classifier goes on, class-balanced (GCL's script, --loss_type CE): 30 epochs at 0.002.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/ce_mixup_crt.py:100 --workdir=runs/cifar10_lt/ce_mixup_crt

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 73.06 / 79.15 / 84.21.
"""

from gcl_jax.recipes import ce_mixup_crt, cifar_lt


def get_config(imbalance_ratio="100"):
    return ce_mixup_crt(cifar_lt("cifar10", imbalance_ratio))
