"""De-confound-TDE (Tang et al. 2020): two last blocks, batch 128 at rate 0.1, weight decay 5e-4.

On long-tailed 8 x 8 digits, ResNet-8 with its last block twice (the original's, larger than the other rows'):

    python -m gcl_jax.main --config=configs/digits_lt/tde.py:100 --workdir=runs/digits_lt/tde

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, tde


def get_config(imbalance_ratio="100"):
    return tde(digits_lt(imbalance_ratio))
