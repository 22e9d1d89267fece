"""GCL as the paper has it: clouded logits, then the classifier on CBEN batches, a = 0.999 and b = 0.0009.

On CIFAR-100-LT, ResNet-32:

    python -m gcl_jax.main --config=configs/cifar100_lt/gcl.py:100 --workdir=runs/cifar100_lt/gcl

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 44.88 / 48.71 / 53.55.

Everything but the sampler equals gcl_published.py. The paper names CBEN; its code's default sampler is
class-balanced, and its CBEN (a = 0.9999, b = 1e-5) is nearly so.
"""

from gcl_jax.recipes import cifar_lt, gcl


def get_config(imbalance_ratio="100"):
    return gcl(cifar_lt("cifar100", imbalance_ratio))
