"""Classify images: python -m gcl_jax.predict --workdir=RUN IMAGE... [--top=5] [--csv=FILE].

An IMAGE is a file, or a folder whose images are taken (hidden ones, and what other programs leave, are not).
Probabilities are softmax at the method's scale, as in result.json. Files that are no image are named at the end, with
exit status 1; the others are answered.
"""

from gcl_jax.runtime import command

if __name__ == "__main__":
    command.begin()

import argparse
import contextlib
import csv
import errno
import os
import pathlib
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from absl import logging

from gcl_jax import command_line
from gcl_jax.data import on_disk
from gcl_jax.data.problems import first_lines
from gcl_jax.data.walk import SUFFIXES, shortened, walk
from gcl_jax.errors import UserError, exit_on_user_error, require
from gcl_jax.replacing import replacing
from gcl_jax.runtime import streams

if TYPE_CHECKING:
    import numpy as np

    from gcl_jax.trained import Trained

BATCH = 64


@exit_on_user_error()
def main(arguments: Sequence[str]) -> None:
    """Print the likeliest classes of each image; a UserError becomes one line and exit status 1."""
    logging.set_verbosity(logging.ERROR)
    given = parse(arguments)
    paths = list(files(given.images))
    target = pathlib.Path(os.path.expanduser(given.csv)) if given.csv else None
    if target:
        if not target.absolute().parent.is_dir():
            raise UserError(f"--csv={given.csv}: there is no folder {target.parent}")
        with _writing(target):  # before any work
            there = target.exists()
            if not there or target.is_file():
                target.open("a").close()
            if not there:
                target.unlink()
            elif target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            elif target.is_file() and not os.access(target.resolve().parent, os.W_OK):  # where it is written at first
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    from gcl_jax import trained  # the heavy half, now that the command is good
    from gcl_jax.runtime import compilation_cache, jax_settings

    jax_settings.pin()
    compilation_cache.use()
    network = trained.read(given.workdir, given.stage)
    print(network.described(given.workdir), file=sys.stderr)
    bad: dict[pathlib.Path, str] = {}
    predictions = predict(network, paths, on_bad=bad.__setitem__)
    top = min(given.top, len(network.class_names))
    rows = [
        (str(path), rank, network.class_names[j], float(p[j]))
        for path, p in zip(paths, predictions, strict=True)
        if path not in bad
        for rank, j in enumerate((-p).argsort(kind="stable")[:top], start=1)
    ]
    if target:
        # A name that is not UTF-8 is written with what is wrong in it as \\udcXX.
        escaped = "backslashreplace"
        with replacing(target) as new, new.open("w", encoding="utf-8", errors=escaped, newline="") as file:
            csv.writer(file).writerows([("image", "rank", "class", "probability"), *rows])
        print(f"written: {target}, {len(paths) - len(bad)} images")
    for line in columns(rows) if not target else ():
        print(line)
    if not target:
        streams.require_written()
    if bad:
        message = [f"{path} is no image that can be read ({reason})" for path, reason in bad.items()]
        raise UserError(
            f"{len(bad):,} of {len(paths):,} files have no answer:" + "".join(f"\n  {t}" for t in first_lines(message))
        )


def columns(rows: Sequence[tuple[str, int, str, float]]) -> list[str]:
    """Rows (path, rank, class, probability) as aligned lines, whatever the length of a path; it stands at rank 1 only.

    What is not printable in a name is written as Python does: a name may hold a line break.

    >>> columns([("a.png", 1, "cat", 0.9), ("a.png", 2, "dog", 0.1)])
    ['a.png  1   90.00 %  cat', '       2   10.00 %  dog']
    """
    paths = [_printable(path) if rank == 1 else "" for path, rank, *_ in rows]
    width = max(map(_width, paths), default=0)
    return [
        f"{path}{' ' * (width - _width(path))}  {rank}  {100 * p:6.2f} %  {_printable(name)}"
        for path, (_, rank, name, p) in zip(paths, rows, strict=True)
    ]


def _printable(name):
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def _width(text):
    """How many columns of a terminal ``text`` takes: East Asian letters two, accents that combine none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


@contextlib.contextmanager
def _writing(target: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--csv={target} cannot be written ({error.strerror or error})") from error


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's arguments; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__, "gcl_jax.predict")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="an image file, or a folder of them")
    parser.add_argument("--workdir", required=True, help="folder of a run, or of one of its seeds")
    parser.add_argument("--stage", default="", help="whose classifier; by default the last that is finished")
    parser.add_argument("--top", type=int, default=5, help="classes to name for each image")
    parser.add_argument("--csv", default="", help="file to write instead of printing")
    given = parser.parse_args(arguments)
    require(1 <= given.top <= 10**6, "--top", given.top, "at least 1 and at most 1000000")
    return given


def files(named: Sequence[str]) -> Iterator[pathlib.Path]:
    """The images that were named, and those of the folders that were; UserError for what is not there."""
    for name in named:
        require(bool(name), "IMAGE", name, "an image file, or a folder of them")  # "" would be this folder
        path = pathlib.Path(os.path.expanduser(name))
        if os.path.isdir(path):
            inside = sorted(_images_in(path))
            if not inside:
                raise UserError(f"{path} holds no image ({', '.join(SUFFIXES)})")
            yield from inside
        elif os.path.isfile(path):
            yield path
        elif os.path.exists(path):
            raise UserError(f"{path} is no regular file, but a FIFO, a socket or a device: name an image file")
        else:  # or no right to look for it
            raise UserError(f"there is no image {shortened(str(path))}")


def _images_in(top: pathlib.Path) -> Iterator[pathlib.Path]:
    """At any depth, but for what other programs leave; UserError for a folder that cannot be read."""
    for where, listing in walk(str(top)):
        if isinstance(listing, OSError):
            raise UserError(
                f"{shortened(where)} cannot be read ({listing.strerror or listing}): make it readable, or name the "
                "images themselves"
            )
        if listing:
            unreadable = [name for name, _ in listing.problems if name.lower().endswith(SUFFIXES)]
            yield from (pathlib.Path(where, name) for name in (*listing.images, *unreadable))


def predict(
    network: "Trained", paths: Sequence[pathlib.Path], on_bad: Callable[[pathlib.Path, str], None] | None = None
) -> "np.ndarray":
    """Probabilities float32[N, C] of images of any size: shorter side resized, center cropped, as in evaluation.

    ``on_bad(path, reason)`` is told of files that are no image, whose row is NaN; without it UserError names the first.
    """
    import jax
    import numpy as np

    from gcl_jax.data import image_kind

    decode = image_kind.decoder()
    height, width, channels = network.image_shape
    if height != width:
        raise UserError(f"the network takes {height} x {width} pixels, and files are cropped to squares only")
    function, probabilities = jax.jit(network.probabilities()), []

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
        probabilities.append(rows)
    return np.concatenate(probabilities)


class _NoImageError(Exception):
    """Why a file is no image."""


def _pixels(decode, path, size, resize, channels):
    try:
        encoded = on_disk.read(path)
    except OSError as error:
        raise _NoImageError(error.strerror or str(error)) from error
    if reason := decode.problem(encoded):
        raise _NoImageError(reason)
    pixels = decode.center_crop(encoded, size, resize).numpy()
    return pixels if channels == 3 else decode.luma(pixels).numpy()


if __name__ == "__main__":
    main(sys.argv[1:])
