"""CE, then tau-normalisation (Kang et al. 2020), tau chosen on a tenth of the training images held out.

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/tau_norm.py:100 --workdir=runs/digits_lt/tau_norm

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, tau_norm


def get_config(imbalance_ratio="100"):
    return tau_norm(digits_lt(imbalance_ratio))
