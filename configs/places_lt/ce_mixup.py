"""Cross-entropy with mixup, alpha 0.2 (Zhang et al. 2018).

On Places-LT, ResNet-152 over a published trunk:

    python -m gcl_jax.main --config=configs/places_lt/ce_mixup.py:DIR --workdir=runs/places_lt/ce_mixup

DIR (data/places_lt where nothing stands after the .py) holds the images, Places_LT_train.txt, _val.txt, _test.txt and
torchvision's resnet152.pth. About 1 hour at 2,000 images a second (most of it a forward pass): an estimate, not
measured.
Published top-1: 29.51.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/places_lt"):
    return table2.ce_mixup(large_scale.places_lt(root))
