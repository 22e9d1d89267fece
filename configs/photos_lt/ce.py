"""Cross-entropy.

On long-tailed photographs of 101 classes, ResNet-10 at 64 pixels (some minutes on a CPU):

    python -m gcl_jax.main --config=configs/photos_lt/ce.py:DIR --workdir=runs/photos_lt/ce

DIR (data/photos_lt where nothing stands after the .py) holds the images, photos_lt_train.txt and photos_lt_test.txt.
ResNet-50 at 224 pixels:
--config.model.name=resnet50 --config.data.photos.size=224 --config.data.photos.resize=256.
Nothing is published for these data.
"""

from gcl_jax.recipes import ce, photos_lt


def get_config(root="data/photos_lt"):
    return ce(photos_lt(root))
