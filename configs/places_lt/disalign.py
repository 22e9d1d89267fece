"""CE, then DisAlign in the paper's form (Zhang et al. 2021): 10 epochs, rho 1.2, batch norm updates.

On Places-LT, ResNet-152 over a published trunk:

    python -m gcl_jax.main --config=configs/places_lt/disalign.py:DIR --workdir=runs/places_lt/disalign

DIR (data/places_lt where nothing stands after the .py) holds the images, Places_LT_train.txt, _val.txt, _test.txt and
torchvision's resnet152.pth. About 1 hour at 2,000 images a second (most of it a forward pass): an estimate, not
measured.
Published top-1: 39.30.
"""

from gcl_jax.recipes import large_scale, table2


def get_config(root="data/places_lt"):
    return table2.disalign(large_scale.places_lt(root))
