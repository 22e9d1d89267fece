"""CE, then DisAlign in the paper's form (Zhang et al. 2021): 10 epochs, rho 1.2, batch norm updates.

On iNaturalist 2018, ResNet-50:

    python -m gcl_jax.main --config=configs/inat2018/disalign.py:DIR --workdir=runs/inat2018/disalign

DIR (data/inat2018 where nothing stands after the .py) holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt. About 10 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 70.06.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/inat2018"):
    return table2.disalign(large_scale.inat2018(root))
