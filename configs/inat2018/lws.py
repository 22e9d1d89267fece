"""CE, then learnable weight scaling (Kang et al. 2020), the "Decoupling" of Table 2: 5 epochs, batch norm updates.

On iNaturalist 2018, ResNet-50:

    python -m gcl_jax.main --config=configs/inat2018/lws.py:DIR --workdir=runs/inat2018/lws

DIR (data/inat2018 where nothing stands after the .py) holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt. About 10 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 69.49.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/inat2018"):
    return table2.lws(large_scale.inat2018(root))
