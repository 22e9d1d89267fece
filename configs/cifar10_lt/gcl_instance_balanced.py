"""GCL with instance-balanced batches in stage 2 (Table 4).

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/gcl_instance_balanced.py:100 --workdir=runs/cifar10_lt/balanced

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 100: 80.41.
"""

from gcl_jax.recipes import cifar_lt, gcl_instance_balanced


def get_config(imbalance_ratio="100"):
    return gcl_instance_balanced(cifar_lt("cifar10", imbalance_ratio))
