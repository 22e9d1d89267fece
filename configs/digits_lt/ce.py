"""Cross-entropy.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/ce.py:100 --workdir=runs/digits_lt/ce

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import ce, digits_lt


def get_config(imbalance_ratio="100"):
    return ce(digits_lt(imbalance_ratio))
