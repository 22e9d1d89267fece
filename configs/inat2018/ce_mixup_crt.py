"""CE + mixup, then cRT (Kang et al. 2020): a fresh classifier, class-aware batches, 30 epochs; batch norm updates.

On iNaturalist 2018, ResNet-50:

    python -m gcl_jax.main --config=configs/inat2018/ce_mixup_crt.py:DIR --workdir=runs/inat2018/ce_mixup_crt

DIR (data/inat2018 where nothing stands after the .py) holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt. About 11 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 70.16.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/inat2018"):
    return table2.ce_mixup_crt(large_scale.inat2018(root))
