"""Cross-entropy, its logits adjusted after training by tau = 1 (Menon et al. 2021).

On long-tailed 8 x 8 digits, ResNet-8:

    python -m gcl_jax.main --config=configs/digits_lt/logit_adjustment_posthoc.py:100 --workdir=runs/digits_lt/posthoc

The argument after the colon is the imbalance ratio.
Seconds to a minute on a CPU. Nothing is published for these data; README has measured tables.
"""

from gcl_jax.recipes import digits_lt, logit_adjustment_posthoc


def get_config(imbalance_ratio="100"):
    return logit_adjustment_posthoc(digits_lt(imbalance_ratio))
