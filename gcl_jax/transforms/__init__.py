"""What happens to images between the loader and the network: pipelines of ops, and what mixes a batch.

To add an op: its file here, and its line in `TRANSFORMS`; from outside, `TRANSFORMS.register`.
"""

from gcl_jax.registry import Registry
from gcl_jax.transforms.autoaugment import AutoAugment
from gcl_jax.transforms.base import BatchTransform, ImageTransform
from gcl_jax.transforms.blur import Blur
from gcl_jax.transforms.cmo import CMO
from gcl_jax.transforms.color import ColorJitter, Grayscale
from gcl_jax.transforms.crop import CenterCrop, Crop
from gcl_jax.transforms.cutmix import CutMix, MixupOrCutMix
from gcl_jax.transforms.cutout import Cutout
from gcl_jax.transforms.flip import Flip
from gcl_jax.transforms.mixup import Mixup
from gcl_jax.transforms.parse import parse_one, parse_pipeline
from gcl_jax.transforms.pipeline import Apply, Choose, Pipeline
from gcl_jax.transforms.randaugment import RandAugment, TimmRandAugment
from gcl_jax.transforms.random_resized_crop import RandomResizedCrop
from gcl_jax.transforms.resize import Resize
from gcl_jax.transforms.rotation import Rotation
from gcl_jax.transforms.stage_transforms import StageTransforms

__all__ = ["MIXES", "TRANSFORMS", "BatchTransform", "ImageTransform", "Pipeline", "StageTransforms", "mix", "pipeline"]

TRANSFORMS: Registry[type[ImageTransform]] = Registry("transform", {
    "crop": Crop,
    "flip": Flip,
    "random_resized_crop": RandomResizedCrop,
    "resize": Resize,
    "center_crop": CenterCrop,
    "color_jitter": ColorJitter,
    "grayscale": Grayscale,
    "blur": Blur,
    "cutout": Cutout,
    "rotation": Rotation,
    "autoaugment": AutoAugment,
    "randaugment": RandAugment,
    "timm_randaugment": TimmRandAugment,
    "apply": Apply,
    "choose": Choose,
})  # fmt: skip
MIXES: Registry[type[BatchTransform]] = Registry("mix", {
    "mixup": Mixup,
    "cutmix": CutMix,
    "mixup_or_cutmix": MixupOrCutMix,
    "cmo": CMO,
})  # fmt: skip


def pipeline(text: str, where: str = "a pipeline") -> Pipeline:
    """The pipeline that ``text`` describes; UserError that names ``where``.

    >>> len(pipeline("crop(4)|flip|autoaugment('cifar10')|cutout(16)").steps)
    4
    >>> pipeline("crop(4)|flop")
    Traceback (most recent call last):
    gcl_jax.errors.UserError: a pipeline: a transform is 'flop' (did you mean 'flip'?); choose one of crop, flip,
        random_resized_crop, resize, center_crop, color_jitter, grayscale, blur, cutout, rotation, autoaugment,
        randaugment, timm_randaugment, apply, choose
    """
    return parse_pipeline(text, TRANSFORMS, where)


def mix(text: str, where: str = "mix") -> BatchTransform | None:
    """What ``text``, such as "cutmix(1.0)", describes; None for "". UserError that names ``where``."""
    return parse_one(text, MIXES, where) if text else None
