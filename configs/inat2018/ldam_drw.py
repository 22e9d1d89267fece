"""LDAM-DRW (Cao et al. 2019): weights from 80 % of the epochs on; it has no code for these data.

On iNaturalist 2018, ResNet-50:

    python -m gcl_jax.main --config=configs/inat2018/ldam_drw.py:DIR --workdir=runs/inat2018/ldam_drw

DIR (data/inat2018 where nothing stands after the .py) holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt. About 10 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 68.00.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/inat2018"):
    return table2.ldam_drw(large_scale.inat2018(root))
