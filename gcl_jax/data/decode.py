"""From the bytes of a photograph to a square of pixels, as TensorFlow operations for a tf.data pipeline.

JPEG (gray and CMYK too), PNG (palette, alpha, 16 bits), GIF (its first frame), BMP and WebP, all as 8-bit RGB; EXIF
orientation is ignored, as Pillow's `open` does in the field's code. The pixels of a JPEG are Pillow's to the bit, in
crops too. Whatever changes pixels gets a new `encoded_images.DECODING`.
"""

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from gcl_jax.data import image_size, signatures
from gcl_jax.data.pillow import pillow
from gcl_jax.runtime import quiet_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = quiet_tensorflow.load()

TRIES = 10
CROP_NOISE_SIZE = 2 * TRIES + 2  # random numbers for one crop
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
MAX_ASPECT_RATIO = 8  # times the shorter side
DCT = "INTEGER_ACCURATE"  # Pillow's; TensorFlow's own choice is faster by a few percent, and darker by a level
BORDER = 1  # pixels around a crop from which its outermost colors are interpolated
MIN_WIDTH = 16  # columns: those of a narrower crop libjpeg would not interpolate at all
CMYK = 4  # components


def random_window(height: tf.Tensor, width: tf.Tensor, crop_noise: tf.Tensor) -> tf.Tensor:
    """A random-resized crop, int32[4] = top, left, height, width (Szegedy et al. 2015; torchvision's rule).

    An area of 8 to 100 % and a width / height of 3/4 to 4/3 (uniform in its logarithm), ten tries, then the largest
    centered window of the nearest ratio. ``crop_noise`` float32[CROP_NOISE_SIZE] in [0, 1): of areas, of ratios, of the
    place.

    >>> random_window(90, 120, tf.fill([CROP_NOISE_SIZE], 0.5)).numpy().tolist()
    [7, 22, 76, 76]
    """
    h, w = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    area = h * w * (SCALE[0] + (SCALE[1] - SCALE[0]) * crop_noise[:TRIES])
    ratio = tf.exp(math.log(RATIO[0]) + math.log(RATIO[1] / RATIO[0]) * crop_noise[TRIES : 2 * TRIES])
    tried_h, tried_w = tf.round(tf.sqrt(area / ratio)), tf.round(tf.sqrt(area * ratio))
    fits = (tried_h > 0) & (tried_h <= h) & (tried_w > 0) & (tried_w <= w)
    first = tf.argmax(fits)
    window_ratio = tf.clip_by_value(w / h, *RATIO)
    largest_h, largest_w = tf.minimum(h, tf.round(w / window_ratio)), tf.minimum(w, tf.round(h * window_ratio))
    fitting = tf.reduce_any(fits)
    crop_h = tf.where(fitting, tried_h[first], largest_h)
    crop_w = tf.where(fitting, tried_w[first], largest_w)
    place = tf.where(fitting, crop_noise[2 * TRIES :], 0.5)
    fits_at_all = tf.cast(fitting, tf.float32)  # of n + 1 places; the middle of n is n // 2
    top = tf.minimum(tf.floor(place[0] * (h - crop_h + fits_at_all)), h - crop_h)
    left = tf.minimum(tf.floor(place[1] * (w - crop_w + fits_at_all)), w - crop_w)
    return tf.cast(tf.stack([top, left, crop_h, crop_w]), tf.int32)


def random_resized_crop(encoded: tf.Tensor, crop_noise: tf.Tensor, size: int) -> tf.Tensor:
    """A random-resized crop, uint8[size, size, 3]; of a JPEG only the crop is decoded."""

    def jpeg():
        shape = tf.io.extract_jpeg_shape(encoded)
        window = random_window(shape[0], shape[1], crop_noise)
        return jpeg_window(encoded, shape, window)

    def other():
        image = decoded(encoded)
        shape = tf.shape(image)
        top, left, height, width = tf.unstack(random_window(shape[0], shape[1], crop_noise))
        return image[top : top + height, left : left + width]

    return _resized(tf.cond(tf.io.is_jpeg(encoded), jpeg, other), size)


def jpeg_window(encoded: tf.Tensor, shape: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """The pixels of a JPEG of ``shape`` in ``window`` = top, left, height, width: those of the whole image there."""
    side_border = tf.where(window[3] < MIN_WIDTH, MIN_WIDTH, BORDER)
    border = tf.stack([BORDER, side_border])
    first = tf.maximum(window[:2] - border, 0)
    last = tf.minimum(window[:2] + window[2:] + border, shape[:2])
    image = tf.cond(
        shape[2] == CMYK,
        lambda: _of_cmyk(encoded)[first[0] : last[0], first[1] : last[1]],
        lambda: tf.io.decode_and_crop_jpeg(encoded, tf.concat([first, last - first], 0), channels=3, dct_method=DCT),
    )
    top, left = tf.unstack(window[:2] - first)
    return image[top : top + window[2], left : left + window[3]]


def _of_cmyk(encoded):
    """The whole image of a CMYK JPEG, by Pillow: TensorFlow rounds down where Pillow rounds, to a level less."""

    def by_pillow(encoded):
        encoded = encoded if isinstance(encoded, bytes) else encoded.item()  # the latter outside graphs
        try:
            with pillow().open(io.BytesIO(encoded)) as image:
                return np.asarray(image.convert("RGB"))
        except Exception as error:  # whatever damaged bytes lead Pillow to
            raise tf.errors.InvalidArgumentError(None, None, str(error) or type(error).__name__) from error

    pixels = tf.numpy_function(by_pillow, [tf.convert_to_tensor(encoded)], tf.uint8, stateful=False)
    return tf.ensure_shape(pixels, [None, None, 3])


def _resized(image, size):
    # Bilinear interpolation looks at 2 x 2 pixels and aliases beyond a factor of two, from where means over areas take
    # over. With its own antialiasing it would take as long as decoding does.
    shape = tf.shape(image)
    smaller = tf.cond(
        tf.minimum(shape[0], shape[1]) >= 2 * size,
        lambda: tf.image.resize(image, [size, size], method="area"),
        lambda: tf.image.resize(image, [size, size]),
    )
    return _pixels(smaller, size)


def center_crop(encoded: tf.Tensor, size: int, resize: int) -> tf.Tensor:
    """The center of the image with its shorter side at ``resize`` pixels, uint8[size, size, 3].

    Antialiased bilinear, as Pillow's and to within a level of it: the field's Resize(256), CenterCrop(224).
    """
    image = decoded(encoded)
    shape = tf.shape(image)
    shorter = tf.minimum(shape[0], shape[1])
    # Of a very long image the middle is enough; resized whole it could fill the memory.
    cut = tf.minimum(shape[:2], MAX_ASPECT_RATIO * shorter)
    top, left = tf.unstack((shape[:2] - cut) // 2)
    image = image[top : top + cut[0], left : left + cut[1]]
    shape = tf.shape(image)
    height, width = (resize * shape[i] // shorter for i in (0, 1))
    image = tf.image.resize(image, [height, width], antialias=True)
    # Halves to the even side, as Python's round in torchvision.
    top, left = (tf.cast(tf.round((length - size) / 2), tf.int32) for length in (height, width))
    return _pixels(image[top : top + size, left : left + size], size)


def decoded(encoded: tf.Tensor) -> tf.Tensor:
    """The whole image, uint8[H, W, 3]; the operation fails where it is damaged or none of the formats."""

    def other():
        # As many channels as there are: WebP has no conversion of its own, and alpha is dropped.
        image = tf.io.decode_image(encoded, channels=0, expand_animations=False)
        colors = tf.shape(image)[2] >= 3
        return tf.cond(colors, lambda: image[..., :3], lambda: tf.repeat(image[..., :1], 3, axis=2))

    def jpeg():
        return tf.cond(
            tf.io.extract_jpeg_shape(encoded)[2] == CMYK,
            lambda: _of_cmyk(encoded),
            lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method=DCT),
        )

    return tf.ensure_shape(tf.cond(tf.io.is_jpeg(encoded), jpeg, other), [None, None, 3])


def _pixels(image, size):
    # Means of pixels, weighted or not, stay in 0..255; a cast drops the fraction.
    return tf.ensure_shape(tf.cast(image + 0.5, tf.uint8), [size, size, 3])


def luma(image: tf.Tensor) -> tf.Tensor:
    """RGB to gray, uint8[H, W, 3] -> uint8[H, W, 1]: 0.299 R + 0.587 G + 0.114 B (ITU-R 601)."""
    gray = tf.reduce_sum(tf.cast(image, tf.float32) * [0.299, 0.587, 0.114], axis=-1, keepdims=True)
    return tf.cast(tf.round(gray), tf.uint8)


def problem(encoded: bytes) -> str:
    """Why ``encoded`` cannot be decoded, and what to do about it, in one line; "" where it can.

    >>> problem(b"")
    'empty file'
    """
    if reason := signatures.refusal(encoded) or image_size.too_large(encoded):
        return reason
    if _has_palette(encoded):
        return "a BMP with a palette is not read: convert it to PNG"
    if _is_animated_webp(encoded):
        return "an animated WebP is not read: convert it to GIF, or one frame of it to PNG"
    try:
        decoded(encoded)
    except tf.errors.OpError as error:
        reason = error.message.rsplit("}}", 1)[-1].strip().splitlines()[0].split(" [Op:")[0]
        return signatures.explained(encoded, reason)
    return ""


def _is_animated_webp(encoded):
    """Whether it is a WebP of several frames, for the first of which TensorFlow writes beyond its memory."""
    return encoded[:4] == b"RIFF" and encoded[8:16] == b"WEBPVP8X" and bool(encoded[20:21]) and bool(encoded[20] & 2)


def _has_palette(encoded):
    """Whether it is a BMP of palette indices, which TensorFlow would take for levels of gray."""
    if encoded[:2] != b"BM" or (bits := int.from_bytes(encoded[28:30], "little")) > 8:
        return False
    start = 14 + int.from_bytes(encoded[14:18], "little")
    levels = b"".join(bytes([i, i, i]) for i in range(256))
    colors = b"".join(encoded[k : k + 3] for k in range(start, start + 4 * 256, 4))
    return bits < 8 or colors != levels
