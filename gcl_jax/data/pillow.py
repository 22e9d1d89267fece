"""Pillow, which identifies photographs and decodes some; an optional dependency."""

import functools
import types
import warnings

from gcl_jax.errors import UserError


def pillow() -> types.ModuleType:
    """The module PIL.Image; UserError where Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError("photographs need Pillow: pip install 'gcl_jax[photos]'") from error
    _quiet(Image)
    return Image


@functools.cache
def _quiet(image_module: types.ModuleType) -> None:
    warnings.simplefilter("ignore", image_module.DecompressionBombWarning)  # `image_size` refuses such images
