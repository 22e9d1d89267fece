"""CE + mixup, then its classifier goes on, class-balanced (GCL's script, --loss_type CE): 30 epochs at 0.002.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/ce_mixup_crt.py:100 --workdir=runs/cifar100_lt/ce_mixup_crt

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 41.73 / 45.12 / 50.86.
"""

from gcl_jax.recipes import ce_mixup_crt, cifar_lt


def get_config(imbalance_ratio="100"):
    return ce_mixup_crt(cifar_lt("cifar100", imbalance_ratio))
