"""GCL as the paper has it: clouded logits, then the classifier on CBEN batches, a = 0.999 and b = 0.0009.

On your own photographs, ResNet-18 at 224 pixels; DIR has one folder a class (a fifth of each is then held out as test),
or train/, test/ and, if you like, val/ with one each:

    python -m gcl_jax.data inspect --config=configs/folder/gcl.py:DIR --decode
    python -m gcl_jax.main --config=configs/folder/gcl.py:DIR --workdir=runs/folder/gcl

Few images? Start from published weights: --config.representation.init_from=FILE.safetensors (torchvision's names)
--config.representation.restore=backbone/ --config.representation.optimizer.learning_rate=0.01.
"""

from gcl_jax.recipes import folder, gcl


def get_config(root=""):
    return gcl(folder(root))
