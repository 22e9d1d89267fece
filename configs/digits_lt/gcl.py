"""GCL as the paper has it: clouded logits, then the classifier on CBEN batches, a = 0.999 and b = 0.0009.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/gcl.py:100 --workdir=runs/digits_lt/gcl

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
GCL has no mixup on them.
"""

from gcl_jax.recipes import digits_lt, gcl


def get_config(imbalance_ratio="100"):
    return gcl(digits_lt(imbalance_ratio))
