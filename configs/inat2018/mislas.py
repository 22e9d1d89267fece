"""MiSLAS (Zhong et al. 2021): CE + mixup 0.2, then label-aware smoothing on scaled logits, 10 epochs.

On iNaturalist 2018, ResNet-50:

    python -m gcl_jax.main --config=configs/inat2018/mislas.py:DIR --workdir=runs/inat2018/mislas

DIR (data/inat2018 where nothing stands after the .py) holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt. About 10 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 71.57.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/inat2018"):
    return table2.mislas(large_scale.inat2018(root))
