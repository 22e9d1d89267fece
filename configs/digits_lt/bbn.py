"""BBN (Zhou et al. 2020): two last blocks, batch 64, Nesterov, x 0.01 after 60 and 80 %; warm-up from 1/3.

On long-tailed 8 x 8 digits, ResNet-8 with its last block twice (the original's, larger than the other rows'):

    python -m gcl_jax.main --config=configs/digits_lt/bbn.py:100 --workdir=runs/digits_lt/bbn

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import bbn, digits_lt


def get_config(imbalance_ratio="100"):
    return bbn(digits_lt(imbalance_ratio))
