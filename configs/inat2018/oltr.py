"""CE, then OLTR (Liu et al. 2019) by its second stage on ImageNet-LT: 60 epochs, all trained.

On iNaturalist 2018, ResNet-50:

    python -m gcl_jax.main --config=configs/inat2018/oltr.py:DIR --workdir=runs/inat2018/oltr

DIR (data/inat2018 where nothing stands after the .py) holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt. About 13 hours at 2,500 training images a second: an estimate, not measured.
Nothing is published for these data and this network.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/inat2018"):
    return table2.oltr(large_scale.inat2018(root))
