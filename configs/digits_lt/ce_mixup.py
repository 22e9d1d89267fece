"""Cross-entropy with mixup, alpha 1 (Zhang et al. 2018).

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/ce_mixup.py:100 --workdir=runs/digits_lt/ce_mixup

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import ce_mixup, digits_lt


def get_config(imbalance_ratio="100"):
    return ce_mixup(digits_lt(imbalance_ratio))
