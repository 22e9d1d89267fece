"""GCL: clouded logits with mixup 0.2, then the classifier on CBEN batches, 30 epochs at 0.002, without mixup.

On iNaturalist 2018, ResNet-50:

    python -m gcl_jax.main --config=configs/inat2018/gcl.py:DIR --workdir=runs/inat2018/gcl

DIR (data/inat2018 where nothing stands after the .py) holds the images, iNaturalist18_train.txt and
iNaturalist18_val.txt. About 11 hours at 2,500 training images a second: an estimate, not measured.
Published top-1: 72.01.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/inat2018"):
    return table2.gcl(large_scale.inat2018(root))
