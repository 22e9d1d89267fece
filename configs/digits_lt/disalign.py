"""CE, then DisAlign in the paper's form (Zhang et al. 2021): 20 epochs, rho 1.2, batch norm updates.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/disalign.py:100 --workdir=runs/digits_lt/disalign

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, disalign


def get_config(imbalance_ratio="100"):
    return disalign(digits_lt(imbalance_ratio))
