"""Look at data, or pack them: python -m gcl_jax.data COMMAND --config=FILE[:ARG] [--config.KEY=VALUE ...].

inspect     prints splits, class counts, shots, formats and sizes of images, and all that is wrong with lists and files;
            its exit status is 1 if a run would refuse them. Images that are in two splits, or under two labels, are a
            warning. --decode decodes every image instead of reading some headers.
pack        writes the photographs of all splits, without a long-tailed cut, into a few large files in the new folder
            --out=DIR, for --config.data.source=packed --config.data.path=DIR. --shorter=N makes larger images so small
            that their shorter side is N pixels (JPEG of quality 95).
"""

from gcl_jax.runtime import command

if __name__ == "__main__":
    command.begin()

import argparse
import os
import re
import sys
from collections.abc import Sequence

from absl import logging
from ml_collections import ConfigDict

from gcl_jax import command_line, data
from gcl_jax.config import validation
from gcl_jax.data import inspect, on_disk, pack
from gcl_jax.data.remarks import remarks
from gcl_jax.errors import UserError, exit_on_user_error, require_one_of
from gcl_jax.runtime import streams

COMMANDS = ("inspect", "pack")
MAX_SIDE = 65_500  # a side of a JPEG


@exit_on_user_error()
def main(arguments: Sequence[str]) -> None:
    """Run the command; exit status 1 if the data are wrong, and for a UserError, which becomes one line."""
    logging.set_verbosity(logging.ERROR)
    options, config = parse(arguments)
    if options.command == "pack":
        write(options, config)
        return
    good = inspect.inspect(config, decode=options.decode)
    streams.require_written()
    if not good:
        sys.exit(1)


def write(options: argparse.Namespace, config: ConfigDict) -> None:
    """Pack the data of ``config`` and print what was written."""
    keys, photos = config.data, config.data.photos.to_dict()
    source = data.reader(keys.source).read(data.title(keys.source, keys.name, keys.path), keys.path, photos)
    for line in remarks(source.splits, source.class_names):  # a pack's images are not compared again
        print(line)
    index = pack.pack(source, options.out, shorter=options.shorter, skip=photos["on_bad_image"] == "skip")
    for part, split in index["splits"].items():
        size = sum(shard["bytes"] for shard in split["shards"]) / 2**20
        resized = f", {split['resized']:,} of them resized" if options.shorter else ""
        print(f"{part:<12}{split['images']:,} images{resized}, {size:,.1f} MiB in {len(split['shards'])} files")
    print(f"written: {options.out}; train with --config.data.source=packed --config.data.path={options.out}")


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, ConfigDict]:
    """The command's arguments and its config, overridden and validated; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__, "gcl_jax.data")
    parser.add_argument("command", metavar="COMMAND", help=" or ".join(COMMANDS))
    parser.add_argument("--decode", action="store_true", help="inspect: decode every image")
    parser.add_argument("--out", default="", help="pack: the folder to write")
    parser.add_argument("--shorter", type=_pixels, default=0, help="pack: the shorter side of images that are larger")
    options, rest = parser.parse_known_args(arguments)
    require_one_of("the command", options.command, COMMANDS)
    config = command_line.config_of([parser.prog, *rest])
    validation.validate(config)
    if options.command == "pack":
        _require_packable(options, config.data)
    for flag, value, name in (
        ("--out", options.out, "pack"),
        ("--shorter", options.shorter, "pack"),
        ("--decode", options.decode, "inspect"),
    ):
        if value and options.command != name:
            raise UserError(f"{flag} is for {name}: leave it out")
    return options, config


def _pixels(text: str) -> int:
    """The type of --shorter."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= MAX_SIDE:
        raise argparse.ArgumentTypeError(
            f"{text[:20]!r} is no number from 1 to {MAX_SIDE}; without it images stay as large as they are"
        )
    return int(text)


def _require_packable(options: argparse.Namespace, block: ConfigDict) -> None:
    """Raise UserError unless photographs of the ``data`` block can be written to --out."""
    if not (kind := data.SOURCES[block.source]).photographs or kind.checked:
        raise UserError(
            f"config.data.source is {block.source!r}: photographs are packed, from a list, a folder or TFDS"
        )
    if not options.out:
        raise UserError("--out is missing: name the folder to write")
    out, root = map(os.path.expanduser, (options.out, block.path))
    if block.source == "folder" and on_disk.is_below(out, os.path.realpath(root)):
        raise UserError(
            f"--out: {options.out} lies in config.data.path, where it would be taken for a class: name a folder "
            "elsewhere"
        )
    if options.shorter and options.shorter < block.photos.resize:
        raise UserError(
            f"--shorter is {options.shorter}, less than config.data.photos.resize, {block.photos.resize}: evaluation "
            "would enlarge the images again"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
