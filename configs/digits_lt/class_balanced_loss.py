"""Cross-entropy weighted by effective numbers, beta 0.9999, from the start (Cui et al. 2019).

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/class_balanced_loss.py:100 --workdir=runs/digits_lt/loss

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import class_balanced_loss, digits_lt


def get_config(imbalance_ratio="100"):
    return class_balanced_loss(digits_lt(imbalance_ratio))
