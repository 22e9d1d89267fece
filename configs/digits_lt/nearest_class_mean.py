"""CE, then the nearest class mean of centred, normalised features (Kang et al. 2020).

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/nearest_class_mean.py:100 --workdir=runs/digits_lt/mean

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, nearest_class_mean


def get_config(imbalance_ratio="100"):
    return nearest_class_mean(digits_lt(imbalance_ratio))
