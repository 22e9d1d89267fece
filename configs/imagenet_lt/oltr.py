"""CE, then OLTR (Liu et al. 2019) by its second stage on ImageNet-LT: 60 epochs, all trained.

On ImageNet-LT, ResNet-50:

    python -m gcl_jax.main --config=configs/imagenet_lt/oltr.py:DIR --workdir=runs/imagenet_lt/oltr

DIR (data/imagenet_lt where nothing stands after the .py) holds the images, ImageNet_LT_train.txt, _val.txt and
_test.txt. About 4 hours at 2,500 training images a second: an estimate, not measured.
Nothing is published for these data and this network.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/imagenet_lt"):
    return table2.oltr(large_scale.imagenet_lt(root))
