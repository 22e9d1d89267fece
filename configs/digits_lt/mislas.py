"""MiSLAS (Zhong et al. 2021): CE + mixup, then label-aware smoothing on scaled logits; batches of 64.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/mislas.py:100 --workdir=runs/digits_lt/mislas

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, mislas


def get_config(imbalance_ratio="100"):
    return mislas(digits_lt(imbalance_ratio))
