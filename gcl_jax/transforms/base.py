"""The contracts of what changes images: one op of a pipeline, and what mixes a batch."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax

from gcl_jax.methods.base import StepInfo, Stream
from gcl_jax.ranges import check_fields


@dataclasses.dataclass(frozen=True)
class ImageTransform:
    """One op of a pipeline: a frozen dataclass of options, called inside the jitted step.

    Options are fields of type int, float, bool, str, tuple of numbers or `Pipeline`, each with a default; a number's
    range is declared by `gcl_jax.ranges.ranged`. They are written in the order of the fields, or by name.
    """

    key_name: ClassVar[str] = ""  # what the op's key is folded with; "" = the name of the class. A file format

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        """images [B, H, W, c] in 0..255, uint8 or float32 -> the same, maybe of another size; each with its own draws.

        uint8 stays uint8 but for `ColorJitter`, which gives float32 that are not rounded; an op that works on whole
        levels rounds float32 first. ``t`` is the step's `StepInfo`, or None in evaluation.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class BatchTransform:
    """What mixes the images of a batch, and so has several targets for each: mixup, CutMix, CMO."""

    def __post_init__(self) -> None:
        check_fields(self)

    def streams(self) -> Mapping[str, Stream]:
        """{name: `methods.base.Stream`} of batches beside the method's, paired by position with "main"."""
        return {}

    def __call__(self, key: jax.Array, batches: Mapping[str, dict], t: StepInfo) -> dict[str, dict]:
        """{stream: {"image" float32[..., B, H, W, c], "label" int32[B]}} -> the method's own streams.

        "main" has mixed images and ``targets`` = ((labels int32[B], weight scalar or [B]), ...), whose weights sum
        to 1, beside its "label", which is that of the first.
        """
        raise NotImplementedError
