"""CE, then learnable weight scaling (Kang et al. 2020): class-aware batches, 20 epochs; batch norm updates.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/lws.py:100 --workdir=runs/digits_lt/lws

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, lws


def get_config(imbalance_ratio="100"):
    return lws(digits_lt(imbalance_ratio))
