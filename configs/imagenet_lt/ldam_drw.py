"""LDAM-DRW (Cao et al. 2019): weights from 80 % of the epochs on; it has no code for these data.

On ImageNet-LT, ResNet-50:

    python -m gcl_jax.main --config=configs/imagenet_lt/ldam_drw.py:DIR --workdir=runs/imagenet_lt/ldam_drw

DIR (data/imagenet_lt where nothing stands after the .py) holds the images, ImageNet_LT_train.txt, _val.txt and
_test.txt. About 3 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 48.80.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/imagenet_lt"):
    return table2.ldam_drw(large_scale.imagenet_lt(root))
