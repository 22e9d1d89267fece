"""GCL with effective-number batches in stage 2, beta 0.9999 (Table 4).

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/gcl_effective_number.py:100 --workdir=runs/digits_lt/number

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
GCL has no mixup on them.
"""

from gcl_jax.recipes import digits_lt, gcl_effective_number


def get_config(imbalance_ratio="100"):
    return gcl_effective_number(digits_lt(imbalance_ratio))
