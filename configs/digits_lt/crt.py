"""CE, then cRT (Kang et al. 2020): a fresh classifier, class-aware batches, 20 epochs; batch norm updates.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/crt.py:100 --workdir=runs/digits_lt/crt

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import crt, digits_lt


def get_config(imbalance_ratio="100"):
    return crt(digits_lt(imbalance_ratio))
