"""CE + mixup, then cRT (Kang et al. 2020): a fresh classifier, class-aware batches, 10 epochs; batch norm updates.

On ImageNet-LT, ResNet-50:

    python -m gcl_jax.main --config=configs/imagenet_lt/ce_mixup_crt.py:DIR --workdir=runs/imagenet_lt/ce_mixup_crt

DIR (data/imagenet_lt where nothing stands after the .py) holds the images, ImageNet_LT_train.txt, _val.txt and
_test.txt. About 3 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 51.68.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/imagenet_lt"):
    return table2.ce_mixup_crt(large_scale.imagenet_lt(root))
