"""Balanced Softmax (Ren et al. 2020): logit adjustment as a loss at tau = 1 (Menon et al. 2021).

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/balanced_softmax.py:100 --workdir=runs/digits_lt/balanced_softmax

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import balanced_softmax, digits_lt


def get_config(imbalance_ratio="100"):
    return balanced_softmax(digits_lt(imbalance_ratio))
