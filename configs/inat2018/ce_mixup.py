"""Cross-entropy with mixup, alpha 0.2 (Zhang et al. 2018).

On iNaturalist 2018, ResNet-50:

    python -m gcl_jax.main --config=configs/inat2018/ce_mixup.py:DIR --workdir=runs/inat2018/ce_mixup

DIR (data/inat2018 where nothing stands after the .py) holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt. About 10 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 65.77.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/inat2018"):
    return table2.ce_mixup(large_scale.inat2018(root))
