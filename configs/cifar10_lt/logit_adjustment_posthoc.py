"""Cross-entropy, its logits adjusted after training by tau = 1 (Menon et al. 2021).

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/logit_adjustment_posthoc.py:100 --workdir=runs/cifar10_lt/posthoc

The argument after the colon is the imbalance ratio.
Nothing is published for these data under this protocol.
"""

from gcl_jax.recipes import cifar_lt, logit_adjustment_posthoc


def get_config(imbalance_ratio="100"):
    return logit_adjustment_posthoc(cifar_lt("cifar10", imbalance_ratio))
