"""GCL as the published code runs it: class-balanced batches in stage 2, which goes on from the last epoch.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/gcl_published.py:100 --workdir=runs/cifar100_lt/gcl_published

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 44.88 / 48.71 / 53.55.

The stage-2 rate of 0.002 is the effective one of the published code, as the log that it prints shows: the cosine
schedule starts at 0.2 of the given 0.1, of which the parameter group takes 0.1. The code's first release made it
0.008, or 0.004 with the rate in its README; which of them made the tables is not known.
"""

from gcl_jax.recipes import cifar_lt, gcl_published


def get_config(imbalance_ratio="100"):
    return gcl_published(cifar_lt("cifar100", imbalance_ratio))
