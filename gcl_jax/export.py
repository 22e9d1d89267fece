"""Export a trained network: python -m gcl_jax.export --workdir=RUN --out=DIR.

DIR/model.stablehlo holds the function uint8[batch, H, W, c] -> float32[batch, C] for any batch, on CPU, GPU and TPU:
pixels in, probabilities out, with normalisation inside. DIR/model.json says the shape, the class names and how an image
becomes a square. To use it, jax is enough:

    function = jax.export.deserialize(open("model.stablehlo", "rb").read())
    probabilities = function.call(images)
"""

from gcl_jax.machine import command

if __name__ == "__main__":
    command.begin()

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence

from absl import logging

from gcl_jax import command_line, json_files
from gcl_jax.errors import UserError, in_one_line

PLATFORMS = ("cpu", "cuda", "tpu")


@in_one_line()
def main(arguments: Sequence[str]) -> None:
    """Write both files; a UserError becomes one line and exit status 1."""
    logging.set_verbosity(logging.ERROR)
    given = parse(arguments)

    from gcl_jax import trained  # the heavy half, now that the command is good
    from gcl_jax.machine import jax_settings
    from gcl_jax.saved import results

    jax_settings.pin()
    network = trained.read(given.workdir, given.stage)
    print(network.described(given.workdir))
    out = pathlib.Path(given.out).expanduser()
    program = serialized(network)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "model.stablehlo").write_bytes(program)
    except OSError as error:
        raise UserError(f"--out={given.out} cannot be written ({error.strerror or error}): name another") from error
    height, width, _ = network.image_shape
    about = {
        "input": {"dtype": "uint8", "shape": ["batch", *network.image_shape]},
        "resize_shorter_side": network.resize,
        "center_crop": [height, width],
        "output": {"dtype": "float32", "shape": ["batch", len(network.class_names)]},
        "class_names": list(network.class_names),
        "stage": network.stage,
        "platforms": list(PLATFORMS),
        **results.environment(),
        "config": network.config.to_dict(),
    }
    json_files.write(out / "model.json", about)
    print(f"written: {out / 'model.stablehlo'}, {out / 'model.json'}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's arguments; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__)
    parser.add_argument("--workdir", required=True, help="folder of a run, or of one of its seeds")
    parser.add_argument("--stage", default="", help="whose classifier; by default the last that is finished")
    parser.add_argument("--out", required=True, help="folder to write to")
    return parser.parse_args(arguments)


def serialized(network) -> bytes:
    """A `trained.Trained` as serialised StableHLO, its batch dimension free and its parameters inside."""
    import jax
    import jax.numpy as jnp

    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.image_shape), jnp.uint8)
    function = jax.jit(functools.partial(network.probabilities(), network.variables))
    return jax.export.export(function, platforms=PLATFORMS)(images).serialize()


if __name__ == "__main__":
    main(sys.argv[1:])
