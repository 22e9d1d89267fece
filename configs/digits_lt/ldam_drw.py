"""LDAM-DRW (Cao et al. 2019): batch 64, x 0.01 and x 1e-4 after 80 and 90 %, weights from 80 % on.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/ldam_drw.py:100 --workdir=runs/digits_lt/ldam_drw

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, ldam_drw


def get_config(imbalance_ratio="100"):
    return ldam_drw(digits_lt(imbalance_ratio))
