"""CE, then learnable weight scaling (Kang et al. 2020), the "Decoupling" of Table 2: 5 epochs, batch norm updates.

On ImageNet-LT, ResNet-50:

    python -m gcl_jax.main --config=configs/imagenet_lt/lws.py:DIR --workdir=runs/imagenet_lt/lws

DIR (data/imagenet_lt where nothing stands after the .py) holds the images, ImageNet_LT_train.txt, _val.txt and
_test.txt. About 3 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 47.70.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/imagenet_lt"):
    return table2.lws(large_scale.imagenet_lt(root))
