"""GCL, and tau-normalisation of the classifier that CBEN batches re-trained (Table 5; our reading).

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/gcl_tau_norm.py:100 --workdir=runs/digits_lt/gcl_tau_norm

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
GCL has no mixup on them.
"""

from gcl_jax.recipes import digits_lt, gcl_tau_norm


def get_config(imbalance_ratio="100"):
    return gcl_tau_norm(digits_lt(imbalance_ratio))
