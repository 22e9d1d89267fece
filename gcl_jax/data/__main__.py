"""Look at data: python -m gcl_jax.data inspect --config=FILE[:ARG] [--config.KEY=VALUE ...] [--decode].

inspect     prints splits, class counts, shots, formats and sizes of images, and all that is wrong with lists and files;
            its exit status is 1 if anything is. --decode decodes every file instead of reading some headers.
"""

import argparse
import sys
from collections.abc import Sequence

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from gcl_jax import command_line, config_validation
from gcl_jax.data import inspect
from gcl_jax.errors import in_one_line, require_one_of


@in_one_line()
def main(arguments: Sequence[str]) -> None:
    """Print what was asked for; exit status 1 if the data are wrong, and for a UserError, which becomes one line."""
    logging.set_verbosity(logging.ERROR)
    given, config = parse(arguments)
    if not inspect.inspect(config, decode=given.decode):
        sys.exit(1)


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, ConfigDict]:
    """The command's arguments and its config, overridden and validated; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__)
    parser.add_argument("command", metavar="COMMAND", help="inspect")
    parser.add_argument("--decode", action="store_true", help="decode every image")
    given, rest = parser.parse_known_args(arguments)
    require_one_of("the command", given.command, ("inspect",))
    values, argv = flags.FlagValues(), [parser.prog, *rest]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    command_line.parse(argv, values)
    config_validation.validate(values.config)
    return given, values.config


if __name__ == "__main__":
    main(sys.argv[1:])
