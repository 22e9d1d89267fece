"""Cross-entropy.

On your own photographs, ResNet-18 at 224 pixels; DIR has one folder a class (a fifth of each is then held out as test),
or train/, test/ and, if you like, val/ with one each:

    python -m gcl_jax.data inspect --config=configs/folder/ce.py:DIR --decode
    python -m gcl_jax.main --config=configs/folder/ce.py:DIR --workdir=runs/folder/ce

Few images? Start from published weights: --config.representation.init_from=FILE.safetensors (torchvision's names)
--config.representation.restore=backbone/ --config.representation.optimizer.learning_rate=0.01.
"""

from gcl_jax.recipes import ce, folder


def get_config(root=""):
    return ce(folder(root))
