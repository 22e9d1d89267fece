"""Report on finished runs: python -m gcl_jax.report embedding --workdir=CE_RUN --workdir=GCL_RUN [--out=DIR].

embedding   t-SNE of the test features, one panel a run, with the silhouette and the distances of head and tail
            classes as numbers (DIR/embedding.png and DIR/embedding.json)
"""

from gcl_jax.runtime import command

if __name__ == "__main__":
    command.begin()

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from gcl_jax import command_line
from gcl_jax.config.plugins import load_plugins
from gcl_jax.errors import exit_on_user_error, require, require_one_of, writing
from gcl_jax.report import REPORTS, Request


@exit_on_user_error()
def main(arguments: Sequence[str]) -> None:
    """Write the report; a UserError becomes one line and exit status 1."""
    logging.set_verbosity(logging.ERROR)
    given = parse(arguments)
    from gcl_jax.runtime import compilation_cache, jax_settings  # the heavy half, now that the command is good

    jax_settings.pin()
    compilation_cache.use()
    out = Path(os.path.expanduser(given.out))
    with writing(out):  # before any work
        out.mkdir(parents=True, exist_ok=True)
    runs = tuple(zip(given.label, given.workdir, strict=True))
    REPORTS[given.report](Request(runs, out, given.stage, given.images))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's arguments, with a label for each run; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__, "gcl_jax.report")
    parser.add_argument("report", metavar="REPORT", help=", ".join(REPORTS))
    parser.add_argument("--workdir", action="append", required=True, help="folder of a run; repeat it to compare runs")
    parser.add_argument("--label", action="append", default=[], help="title of each panel; else its folder's name")
    parser.add_argument("--stage", default="", help="whose network embeds; by default the first that was trained")
    parser.add_argument("--out", default=".", help="folder to write to")
    parser.add_argument("--images", type=int, default=2000, help="test images in the picture, as many of each class")
    parser.add_argument(
        "--plugins", type=command_line.comma_separated, default=[], help="modules that register reports: NAME,NAME"
    )
    given = parser.parse_args(arguments)
    load_plugins({"plugins": given.plugins})
    require_one_of("the report", given.report, REPORTS)
    require(10 <= given.images <= 10**6, "--images", given.images, "at least 10 and at most 1000000")
    given.label = given.label or [Path(folder).absolute().name for folder in given.workdir]
    require(len(given.label) == len(given.workdir), "--label", given.label, "given once for each --workdir, or not")
    require(len(set(given.label)) == len(given.label), "--label", given.label, "different for each run")
    return given


if __name__ == "__main__":
    main(sys.argv[1:])
