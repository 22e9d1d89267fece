"""Classify images: python -m gcl_jax.predict --workdir=RUN IMAGE... [--top=5] [--csv=FILE].

An IMAGE is a file, or a folder whose images are taken (hidden ones are not). Probabilities are softmax at the method's
scale, as in result.json. Files that are no image are named at the end, with exit status 1; the others are answered.
"""

from gcl_jax.machine import command

if __name__ == "__main__":
    command.begin()

import argparse
import contextlib
import csv
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

from absl import logging

from gcl_jax import command_line
from gcl_jax.data.folder import SUFFIXES
from gcl_jax.data.problems import first
from gcl_jax.errors import UserError, in_one_line, require
from gcl_jax.machine import streams

BATCH = 64


@in_one_line()
def main(arguments: Sequence[str]) -> None:
    """Print the likeliest classes of each image; a UserError becomes one line and exit status 1."""
    logging.set_verbosity(logging.ERROR)
    given = parse(arguments)
    paths = list(files(given.images))
    target = pathlib.Path(given.csv).expanduser() if given.csv else None
    if target:
        if not target.absolute().parent.is_dir():
            raise UserError(f"--csv={given.csv}: there is no folder {target.parent}")
        with _writing(target):  # before any work
            there = target.exists()
            target.open("a").close()
            if not there:
                target.unlink()

    from gcl_jax import trained  # the heavy half, now that the command is good
    from gcl_jax.machine import compilation_cache, jax_settings

    jax_settings.pin()
    compilation_cache.use()
    network = trained.read(given.workdir, given.stage)
    print(network.described(given.workdir), file=sys.stderr)
    bad = {}
    found = predict(network, paths, on_bad=bad.__setitem__)
    top = min(given.top, len(network.class_names))
    rows = [
        (str(path), rank, network.class_names[j], float(p[j]))
        for path, p in zip(paths, found, strict=True)
        if path not in bad
        for rank, j in enumerate((-p).argsort(kind="stable")[:top], start=1)
    ]
    if target:
        # A name that is not UTF-8 is written with what is wrong in it as \\udcXX.
        named = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
        with _writing(target), target.open("w", **named) as file:
            csv.writer(file).writerows([("image", "rank", "class", "probability"), *rows])
        print(f"written: {target}, {len(paths) - len(bad)} images")
    for path, rank, name, p in rows if not target else ():
        print(f"{path if rank == 1 else '':<40} {rank}  {100 * p:6.2f} %  {name}")
    if not target:
        streams.require_written()
    if bad:
        told = [f"{path} is no image that can be read ({reason})" for path, reason in bad.items()]
        raise UserError(
            f"{len(bad):,} of {len(paths):,} files have no answer:" + "".join(f"\n  {t}" for t in first(told))
        )


@contextlib.contextmanager
def _writing(target: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--csv={target} cannot be written ({error.strerror or error})") from error


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's arguments; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__)
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="an image file, or a folder of them")
    parser.add_argument("--workdir", required=True, help="folder of a run, or of one of its seeds")
    parser.add_argument("--stage", default="", help="whose classifier; by default the last that is finished")
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
            inside = sorted(
                p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and _is_seen(p.relative_to(path))
            )
            inside = [p for p in inside if p.is_file()]
            if not inside:
                raise UserError(f"{path} holds no image ({', '.join(SUFFIXES)})")
            yield from inside
        elif path.is_file():
            yield path
        else:
            raise UserError(f"there is no image {path}")


def _is_seen(path: pathlib.Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


def predict(network, paths: Sequence[pathlib.Path], on_bad: Callable[[pathlib.Path, str], None] | None = None):
    """Probabilities float32[N, C] of images of any size: shorter side resized, centre cropped, as in evaluation.

    ``on_bad(path, reason)`` is told of files that are no image, whose row is NaN; without it UserError names the first.
    """
    import jax
    import numpy as np

    from gcl_jax.data import image_kind

    decode = image_kind.decoder()
    height, width, channels = network.image_shape
    if height != width:
        raise UserError(f"the network takes {height} x {width} pixels, and files are cropped to squares only")
    function, found = jax.jit(network.probabilities()), []

    def pixels(path):
        try:
            return _pixels(decode, path, height, network.resize, channels)
        except _NoImageError as error:
            if on_bad is None:
                raise UserError(f"{path} is no image that can be read ({error})") from error
            on_bad(path, str(error))

    for start in range(0, len(paths), BATCH):
        batch = [pixels(path) for path in paths[start : start + BATCH]]
        full = np.zeros((BATCH if len(paths) > BATCH else len(paths), *network.image_shape), np.uint8)
        good = [i for i, image in enumerate(batch) if image is not None]
        for i in good:
            full[i] = batch[i]
        rows = np.full((len(batch), len(network.class_names)), np.nan, np.float32)
        rows[good] = np.asarray(function(network.variables, full))[good]
        found.append(rows)
    return np.concatenate(found)


class _NoImageError(Exception):
    """Why a file is no image."""


def _pixels(decode, path, size, resize, channels):
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise _NoImageError(error.strerror or str(error)) from error
    if reason := decode.problem(encoded):
        raise _NoImageError(reason)
    pixels = decode.center_crop(encoded, size, resize).numpy()
    return pixels if channels == 3 else decode.luma(pixels).numpy()


if __name__ == "__main__":
    main(sys.argv[1:])
