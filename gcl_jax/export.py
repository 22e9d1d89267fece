"""Export a trained network: python -m gcl_jax.export --workdir=RUN --out=DIR.

DIR/model.stablehlo holds the function uint8[batch, H, W, c] -> float32[batch, C] for any batch, on CPU, GPU and TPU:
pixels in, probabilities out, with normalization inside. DIR/model.json says the shapes, the class names and how a file
becomes the square of pixels that `gcl_jax.predict` gives the network, with six lines of Python that do so. To call the
function, jax and flatbuffers are enough; those six lines take numpy and Pillow, too:

    function = jax.export.deserialize(open("model.stablehlo", "rb").read())
    probabilities = function.call(images)
"""

from gcl_jax.runtime import command

if __name__ == "__main__":
    command.begin()

import argparse
import functools
import importlib.util
import os
import pathlib
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import logging

from gcl_jax import command_line, json_files
from gcl_jax.errors import UserError, exit_on_user_error, require
from gcl_jax.replacing import replacing

if TYPE_CHECKING:
    from gcl_jax.trained import Trained

PLATFORMS = ("cpu", "cuda", "tpu")


@exit_on_user_error()
def main(arguments: Sequence[str]) -> None:
    """Write both files; a UserError becomes one line and exit status 1."""
    logging.set_verbosity(logging.ERROR)
    given = parse(arguments)
    if importlib.util.find_spec("flatbuffers") is None:
        raise UserError("jax.export writes with flatbuffers, which is not installed: pip install flatbuffers")

    from gcl_jax import trained  # the heavy half, now that the command is good
    from gcl_jax.runtime import jax_settings

    jax_settings.pin()
    network = trained.read(given.workdir, given.stage)
    print(network.described(given.workdir))
    out = pathlib.Path(os.path.expanduser(given.out))
    program = serialized(network)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={given.out} cannot be written ({error.strerror or error}): name another") from error
    with replacing(out / "model.stablehlo") as new:
        new.write_bytes(program)
        json_files.write(out / "model.json", description(network))
    print(f"written: {out / 'model.stablehlo'}, {out / 'model.json'}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's arguments; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__, "gcl_jax.export")
    parser.add_argument("--workdir", required=True, help="folder of a run, or of one of its seeds")
    parser.add_argument("--stage", default="", help="whose classifier; by default the last that is finished")
    parser.add_argument("--out", required=True, help="folder to write to")
    given = parser.parse_args(arguments)
    require(bool(given.out), "--out", given.out, "a folder to write to")
    return given


# What a file goes through, as six lines that import nothing of ours; {pixels} is uint8[H, W, c].
PYTHON = """\
import json, jax.export, numpy as np, PIL.Image
about, model = json.load(open("model.json")), jax.export.deserialize(open("model.stablehlo", "rb").read())
image, (height, width) = PIL.Image.open(FILE).convert("RGB"), about["center_crop"]
resized = np.stack([PIL.Image.fromarray(c).resize([about["resize_shorter_side"] * n // min(image.size) for n in \
image.size], PIL.Image.BILINEAR) for c in np.moveaxis(np.float32(image), 2, 0)], axis=2)
top, left = round((resized.shape[0] - height) / 2), round((resized.shape[1] - width) / 2)
probabilities = model.call({pixels}[None])[0]
"""
SQUARE = "np.uint8(resized[top : top + height, left : left + width] + 0.5)"


def description(network: "Trained") -> dict:
    """What model.json says of a `trained.Trained`: all that a program needs to give it what `gcl_jax.predict` gives."""
    from gcl_jax.workdir import results

    height, width, channels = network.image_shape
    gray = channels == 1
    pixels = f"np.uint8(np.round({SQUARE} @ [0.299, 0.587, 0.114]))[..., None]" if gray else SQUARE
    return {
        "input": {"dtype": "uint8", "shape": ["batch", *network.image_shape]},
        "layout": "NHWC: images, rows from the top, columns from the left, channels",
        "channel_order": "one channel, gray: 0.299 R + 0.587 G + 0.114 B, rounded" if gray else "RGB",
        "value_range": [0, 255],
        "decoder": "8-bit RGB as Pillow's convert('RGB') gives it: JPEG by the accurate integer DCT (libjpeg's islow, "
        "TensorFlow's INTEGER_ACCURATE), of an animated GIF the first frame, alpha dropped",
        "exif_orientation": "ignored: pixels are taken as they are stored",
        "resize_shorter_side": network.resize,
        "resize_longer_side": "resize_shorter_side * longer // shorter",
        "longest": "of an image more than 8 times as long as wide the middle 8 times are taken first, from "
        "(longer - 8 * shorter) // 2 on; the lines of Python leave this out",
        "resize_filter": "bilinear with antialiasing (a triangle, widened where the image becomes smaller, as Pillow's "
        "BILINEAR), in float32 and rounded once at the end, halves up",
        "center_crop": [height, width],
        "center_crop_from": "top, left = round((resized - crop) / 2), halves to the even number, as Python's round",
        "normalization": {
            "where": "inside the model, on uint8 pixels x: (x / 255 - mean) / std",
            "mean": list(network.config.data.mean),
            "std": list(network.config.data.std),
        },
        "output": {
            "dtype": "float32",
            "shape": ["batch", len(network.class_names)],
            "values": "probabilities in the order of class_names",
        },
        "class_names": list(network.class_names),
        "requires": ["jax", "flatbuffers", "and for the lines below numpy and pillow"],
        "python": PYTHON.format(pixels=pixels).splitlines(),
        "stage": network.stage,
        "platforms": list(PLATFORMS),
        **results.environment(),
        "config": network.config.to_dict(),
    }


def serialized(network: "Trained") -> bytes:
    """A `trained.Trained` as serialized StableHLO, its batch dimension free and its parameters inside.

    Raises UserError for a network or a method that takes the number of images for a Python integer.
    """
    import jax
    import jax.numpy as jnp

    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.image_shape), jnp.uint8)
    function = jax.jit(functools.partial(network.probabilities(), network.variables))
    try:
        return bytes(jax.export.export(function, platforms=PLATFORMS)(images).serialize())
    except TypeError as error:
        if "_DimExpr" not in str(error):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{place.filename}:{place.lineno} takes the number of images for an integer ({error}), but what is "
            "exported takes any number: write x.shape[0] for len(x)"
        ) from error


if __name__ == "__main__":
    main(sys.argv[1:])
