"""CE, then OLTR (Liu et al. 2019): attention, memory and meta-embedding, all trained; class-aware batches.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/oltr.py:100 --workdir=runs/digits_lt/oltr

The argument after the colon is the imbalance ratio. No recipe of the original for data like these: see
the recipe. Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, oltr


def get_config(imbalance_ratio="100"):
    return oltr(digits_lt(imbalance_ratio))
