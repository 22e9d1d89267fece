"""GCL whose stage 2 learns one factor a class, on CBEN batches (Table 5).

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/gcl_lws.py:100 --workdir=runs/cifar10_lt/gcl_lws

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 100: 82.25.
"""

from gcl_jax.recipes import cifar_lt, gcl_lws


def get_config(imbalance_ratio="100"):
    return gcl_lws(cifar_lt("cifar10", imbalance_ratio))
