"""CE, then DisAlign in the paper's form (Zhang et al. 2021): 10 epochs, rho 1.2, batch norm updates.

On ImageNet-LT, ResNet-50:

    python -m gcl_jax.main --config=configs/imagenet_lt/disalign.py:DIR --workdir=runs/imagenet_lt/disalign

DIR (data/imagenet_lt where nothing stands after the .py) holds the images, ImageNet_LT_train.txt, _val.txt and
_test.txt. About 3 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 52.91.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/imagenet_lt"):
    return table2.disalign(large_scale.imagenet_lt(root))
