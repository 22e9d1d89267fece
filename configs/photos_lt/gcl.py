"""GCL as the paper has it: clouded logits, then the classifier on CBEN batches, a = 0.999 and b = 0.0009.

On long-tailed photographs of 101 classes, ResNet-10 at 64 pixels (some minutes on a CPU):

    python -m gcl_jax.main --config=configs/photos_lt/gcl.py:DIR --workdir=runs/photos_lt/gcl

DIR (data/photos_lt where nothing stands after the .py) holds the images, photos_lt_train.txt and photos_lt_test.txt.
ResNet-50 at 224 pixels:
--config.model.name=resnet50 --config.data.photos.size=224 --config.data.photos.resize=256.
Nothing is published for these data.
"""

from gcl_jax.recipes import gcl, photos_lt


def get_config(root="data/photos_lt"):
    return gcl(photos_lt(root))
