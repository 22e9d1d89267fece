"""CE behind a feature layer of 512, then OLTR (Liu et al. 2019): its own two stages of 30 epochs, batch 128.

On Places-LT, ResNet-152 from published weights:

    python -m gcl_jax.main --config=configs/places_lt/oltr.py:DIR --workdir=runs/places_lt/oltr

DIR (data/places_lt where nothing stands after the .py) holds the images, Places_LT_train.txt, _val.txt, _test.txt and
torchvision's resnet152.pth (the original has Caffe's). About 1 hour at 1,000 images a second in the first stage and
2,000 in the second, of which most is a forward pass: an estimate, not measured.
Published top-1: 35.90.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/places_lt"):
    return table2.oltr_places(large_scale.places_lt(root))
