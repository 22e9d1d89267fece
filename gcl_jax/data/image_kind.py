"""The format, kind of pixels and size of an encoded image, and whether it can be decoded."""

import dataclasses
import hashlib
import io
import os
import types
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from gcl_jax.data import image_size, signatures
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.pillow import pillow
from gcl_jax.errors import UserError

CHUNK = 4096  # images handed to the threads together
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP")  # those that `decode` reads; MPO begins with a JPEG

# Pillow's modes; others go by their own names.
KINDS = {
    "1": "grayscale", "L": "grayscale", "RGB": "RGB", "CMYK": "CMYK", "P": "palette",
    "RGBA": "alpha", "LA": "alpha", "PA": "alpha", "RGBa": "alpha", "La": "alpha",
    "I": "16-bit", "I;16": "16-bit", "I;16L": "16-bit", "I;16B": "16-bit", "I;16N": "16-bit", "F": "16-bit",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ImageKind:
    """The format ("JPEG"), kind of pixels (a value of `KINDS`) and size of an image; or ``reason``, why it is none.

    ``sha256`` is the digest of its bytes, where `identify_all` has read them.
    """

    format: str = ""
    kind: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""
    sha256: bytes = dataclasses.field(default=b"", compare=False, repr=False)


def identify(encoded: bytes, *, decode: bool = True) -> ImageKind:
    """The kind of the image ``encoded``; with ``decode`` all its data are read, else the header alone.

    Raises UserError where Pillow, or to decode TensorFlow, is not installed.

    >>> identify(b"some text").reason
    'not an image'
    """
    image_module = pillow()
    if reason := signatures.refusal(encoded) or image_size.too_large(encoded):
        return ImageKind(reason=reason)
    try:
        with image_module.open(io.BytesIO(encoded)) as image:
            if image.format not in FORMATS:
                return ImageKind(reason=f"{image.format} is not read: convert it to JPEG or PNG")
            kind = ImageKind(image.format, KINDS.get(image.mode, image.mode), *image.size)
            if image.format == "BMP" and image.mode in ("P", "1"):
                return ImageKind(reason="a BMP with a palette is not read: convert it to PNG")
            if image.format == "WEBP" and getattr(image, "is_animated", False):
                return ImageKind(reason="an animated WebP is not read: convert it to GIF, or one frame of it to PNG")
    except image_module.UnidentifiedImageError:
        return ImageKind(reason=signatures.explained(encoded, "not an image"))
    except Exception as error:  # decoders raise SyntaxError, struct.error and whatever else damaged bytes lead them to
        return ImageKind(reason=signatures.explained(encoded, str(error) or type(error).__name__))
    reason = decoder().problem(encoded) if decode else ""  # by the decoder that training has
    return ImageKind(reason=reason) if reason else kind


def identify_all(images: Sequence[tuple[EncodedImages, int]], *, decode: bool = True) -> Iterator[ImageKind]:
    """`identify` each of ``images``, (photographs, position), in order, on all cores; a progress bar on a terminal.

    An image that cannot be read has the ``reason`` why.
    """
    pillow()  # before any thread
    if decode:
        decoder()

    def identify_image(image):
        photographs, position = image
        try:
            encoded = photographs.encoded(position)
        except OSError as error:
            return ImageKind(reason=str(error))
        return dataclasses.replace(identify(encoded, decode=decode), sha256=hashlib.sha256(encoded).digest())

    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,  # Pillow lets other threads run while it decodes
        tqdm(total=len(images), unit="image", disable=None, leave=False) as progress,
    ):
        for start in range(0, len(images), CHUNK):
            for kind in pool.map(identify_image, images[start : start + CHUNK]):
                progress.update()
                yield kind


def decoder() -> types.ModuleType:
    """The module `decode`; UserError where TensorFlow is not installed."""
    try:
        from gcl_jax.data import decode
    except ImportError as error:
        raise UserError(
            "photographs are decoded by TensorFlow, which is not installed: pip install 'gcl_jax[photos,tf]'"
        ) from error
    return decode
