"""GCL with effective-number batches in stage 2, beta 0.9999 (Table 4).

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/gcl_effective_number.py:100 --workdir=runs/cifar10_lt/number

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 100: 82.47.
"""

from gcl_jax.recipes import cifar_lt, gcl_effective_number


def get_config(imbalance_ratio="100"):
    return gcl_effective_number(cifar_lt("cifar10", imbalance_ratio))
