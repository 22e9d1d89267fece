"""Hybrid-SC (Wang et al. 2021): supervised contrast in two views, temperature 0.1; batch 256 at rate 0.25.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/hybrid_sc.py:100 --workdir=runs/digits_lt/hybrid_sc

The argument after the colon is the imbalance ratio. No code of the original could be had: it follows the paper.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, hybrid_sc


def get_config(imbalance_ratio="100"):
    return hybrid_sc(digits_lt(imbalance_ratio))
