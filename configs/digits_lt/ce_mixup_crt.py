"""CE + mixup, then its classifier goes on, class-balanced (GCL's script, --loss_type CE): 20 epochs at 0.05.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/ce_mixup_crt.py:100 --workdir=runs/digits_lt/ce_mixup_crt

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
Stage 2 has no mixup on them.
"""

from gcl_jax.recipes import ce_mixup_crt, digits_lt


def get_config(imbalance_ratio="100"):
    return ce_mixup_crt(digits_lt(imbalance_ratio))
