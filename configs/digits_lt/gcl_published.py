"""GCL as the published code runs it: class-balanced batches in stage 2, which goes on from the last epoch.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/gcl_published.py:100 --workdir=runs/digits_lt/gcl_published

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
GCL has no mixup on them.
"""

from gcl_jax.recipes import digits_lt, gcl_published


def get_config(imbalance_ratio="100"):
    return gcl_published(digits_lt(imbalance_ratio))
