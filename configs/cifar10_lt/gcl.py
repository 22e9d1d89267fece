"""GCL as the paper has it: clouded logits, then the classifier on CBEN batches, a = 0.999 and b = 0.0009.

On CIFAR-10-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar10_lt/gcl.py:100 --workdir=runs/cifar10_lt/gcl

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 79.03 / 82.68 / 85.46.

Everything but the sampler equals gcl_published.py. The paper names CBEN; its code's default sampler is
class-balanced, and its CBEN (a = 0.9999, b = 1e-5) is nearly so.
"""

from gcl_jax.recipes import cifar_lt, gcl


def get_config(imbalance_ratio="100"):
    return gcl(cifar_lt("cifar10", imbalance_ratio))
