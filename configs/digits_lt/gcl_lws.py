"""GCL whose stage 2 learns one factor a class, on CBEN batches (Table 5).

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/gcl_lws.py:100 --workdir=runs/digits_lt/gcl_lws

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
GCL has no mixup on them.
"""

from gcl_jax.recipes import digits_lt, gcl_lws


def get_config(imbalance_ratio="100"):
    return gcl_lws(digits_lt(imbalance_ratio))
