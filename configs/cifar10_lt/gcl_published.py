"""GCL as the published code runs it: class-balanced batches in stage 2, which goes on from the last epoch.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/gcl_published.py:100 --workdir=runs/cifar10_lt/gcl_published

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 79.03 / 82.68 / 85.46.
Table 4 has a row of its own for class-balanced sampling, ratio 100: 82.43.

The stage-2 rate of 0.002 is the effective one of the published code, as the log that it prints shows: the cosine
schedule starts at 0.2 of the given 0.1, of which the parameter group takes 0.1. The code's first release made it
0.008, or 0.004 with the rate in its README; which of them made the tables is not known.
"""

from gcl_jax.recipes import cifar_lt, gcl_published


def get_config(imbalance_ratio="100"):
    return gcl_published(cifar_lt("cifar10", imbalance_ratio))
