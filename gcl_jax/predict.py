"""Classify images: python -m gcl_jax.predict --workdir=RUN IMAGE... [--top=5] [--csv=FILE].

An IMAGE is a file, or a folder whose images are taken. Probabilities are softmax at the method's scale, as in
result.json.
"""

import argparse
import csv
import pathlib
import sys
from collections.abc import Iterator, Sequence

from absl import logging

from gcl_jax import command_line
from gcl_jax.errors import UserError, in_one_line, require

BATCH = 64
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


@in_one_line()
def main(arguments: Sequence[str]) -> None:
    """Print the likeliest classes of each image; a UserError becomes one line and exit status 1."""
    logging.set_verbosity(logging.ERROR)
    given = parse(arguments)
    paths = list(files(given.images))
    if given.csv and not pathlib.Path(given.csv).expanduser().absolute().parent.is_dir():
        raise UserError(f"--csv={given.csv}: there is no folder {pathlib.Path(given.csv).parent}")

    from gcl_jax import compilation_cache, trained  # the heavy half, now that the command is good

    compilation_cache.use()
    network = trained.read(given.workdir, given.stage)
    found = predict(network, paths)
    top = min(given.top, len(network.class_names))
    rows = [
        (str(path), rank, network.class_names[j], float(p[j]))
        for path, p in zip(paths, found, strict=True)
        for rank, j in enumerate((-p).argsort(kind="stable")[:top], start=1)
    ]
    if given.csv:
        with pathlib.Path(given.csv).expanduser().open("w", newline="") as file:
            csv.writer(file).writerows([("image", "rank", "class", "probability"), *rows])
        print(f"written: {given.csv}, {len(paths)} images")
        return
    for path, rank, name, p in rows:
        print(f"{path if rank == 1 else '':<40} {rank}  {100 * p:6.2f} %  {name}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's arguments; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__)
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="an image file, or a folder of them")
    parser.add_argument("--workdir", required=True, help="folder of a run, or of one of its seeds")
    parser.add_argument("--stage", default="", help="whose classifier; by default the last that was trained")
    parser.add_argument("--top", type=int, default=5, help="classes to name for each image")
    parser.add_argument("--csv", default="", help="file to write instead of printing")
    given = parser.parse_args(arguments)
    require(given.top >= 1, "--top", given.top, "at least 1")
    return given


def files(named: Sequence[str]) -> Iterator[pathlib.Path]:
    """The images that were named, and those of the folders that were; UserError for what is not there."""
    for name in named:
        path = pathlib.Path(name).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise UserError(f"{path} holds no image ({', '.join(SUFFIXES)})")
            yield from inside
        elif path.is_file():
            yield path
        else:
            raise UserError(f"there is no image {path}")


def predict(network, paths: Sequence[pathlib.Path]):
    """Probabilities float32[N, C] of images of any size: shorter side resized, centre cropped, as in evaluation.

    Raises UserError that names the first file that is no image.
    """
    import jax
    import numpy as np

    from gcl_jax.data import image_kind

    decode = image_kind.decoder()
    height, width, channels = network.image_shape
    if height != width:
        raise UserError(f"the network takes {height} x {width} pixels, and files are cropped to squares only")
    photos = network.config.data.photos
    resize = photos.resize if height == photos.size else height
    function, found = jax.jit(network.probabilities()), []
    for start in range(0, len(paths), BATCH):
        batch = [_pixels(decode, path, height, resize, channels) for path in paths[start : start + BATCH]]
        full = np.zeros((BATCH if len(paths) > BATCH else len(paths), *network.image_shape), np.uint8)
        full[: len(batch)] = batch
        found.append(np.asarray(function(network.variables, full))[: len(batch)])
    return np.concatenate(found)


def _pixels(decode, path, size, resize, channels):
    encoded = path.read_bytes()
    if reason := decode.problem(encoded):
        raise UserError(f"{path} is no image that can be read ({reason})")
    pixels = decode.center_crop(encoded, size, resize).numpy()
    return pixels if channels == 3 else decode.luma(pixels).numpy()


if __name__ == "__main__":
    main(sys.argv[1:])
