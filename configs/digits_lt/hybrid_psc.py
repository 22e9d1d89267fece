"""Hybrid-PSC (Wang et al. 2021): contrast with learned prototypes, temperature 1, and 0.1 on CIFAR-100.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/hybrid_psc.py:100 --workdir=runs/digits_lt/hybrid_psc

The argument after the colon is the imbalance ratio. No code of the original could be had: it follows the paper.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, hybrid_psc


def get_config(imbalance_ratio="100"):
    return hybrid_psc(digits_lt(imbalance_ratio))
