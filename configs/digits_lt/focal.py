"""Focal loss, gamma 1 as in LDAM's script, without its class weights.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/focal.py:100 --workdir=runs/digits_lt/focal

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, focal


def get_config(imbalance_ratio="100"):
    return focal(digits_lt(imbalance_ratio))
