"""From the command line to a config, or to one clear line about what is wrong with it."""

import argparse
import re
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from gcl_jax import config as config_lib
from gcl_jax import regular_files
from gcl_jax.errors import UserError, cut


def parse(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Parse ``argv`` into ``values``; every way in which it can be wrong becomes a UserError.

    Overrides are looked up in the config file first, so that a typo is answered with the
    nearest key and nothing has been started.
    """
    config = ConfigDict()
    if not any(re.match(r"--?help", argument) for argument in argv):
        config = _load(argv)
        for argument in argv[1:]:
            match = re.match(r"--?(?:no)?config\.([^=]+)", argument)
            if match and (complaint := config_lib.unknown_key(config, match[1])):
                raise UserError(complaint)
    try:
        rest = values(list(argv))
    except flags.IllegalFlagValueError as error:
        raise UserError(_bad_value(str(error), config)) from error
    except flags.Error as error:
        raise UserError(str(error).splitlines()[0]) from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is no flag; write --config.KEY=VALUE, without spaces around =")


def config_of(argv: Sequence[str]) -> ConfigDict:
    """The config that ``argv`` names, a command's name and then flags, with its overrides; UserError as from `parse`.

    For what is no run itself: absl's own flags stay as they are.
    """
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=list(argv))
    parse(argv, values)
    return values.config


def _load(argv: Sequence[str]) -> ConfigDict:
    """The config file named on the command line, before any override."""
    named = [
        a for i, a in enumerate(argv) if re.match(r"--?config(=|$)", a) or (i and re.match(r"--?config$", argv[i - 1]))
    ]
    if not named:
        raise UserError("--config is missing; for example --config=configs/digits_lt/gcl.py")
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=[""])  # without the overrides
    path = named[-1].split("=", 1)[-1]
    regular_files.find(path.split(":")[0], f"--config={regular_files.shown(path)}")
    try:
        values(["", f"--config={path}"])
        config = values.config
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # a config file is code: whatever it raises is the user's
        cause = error.__cause__ or error.__context__ or error
        reason = str(error).strip().splitlines()[-1].strip() or type(cause).__name__
        raise UserError(f"--config={path} cannot be loaded: {reason}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={path}: its get_config() must return a ConfigDict, not {type(config).__name__}")
    return config


def _bad_value(message: str, config: ConfigDict) -> str:
    match = re.match(r"flag --config\.([^=]+)=(.*?): ", message, re.DOTALL)
    if not match:
        first, *rest = [line.strip() for line in message.splitlines() if line.strip()]
        # Of a config file that fails when it is read again, ml_collections tells the reason in the last line only.
        return re.sub(r"^flag --", "--", rest[-1] if rest and first.endswith("parsing config file:") else first)
    value = config_lib.value_at(config, match[1])
    if isinstance(value, ConfigDict):
        return f"config.{match[1]} is a block of keys; set them one by one: {', '.join(value)}"
    return f"config.{match[1]} is {match[2]!r}; it must be of type {type(value).__name__}, such as {value!r}"


def overrides(values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """The overrides that were parsed, as ``--config.KEY=VALUE``, for the record."""
    return [f"--config.{key}={value}" for key, value in config_flags.get_override_values(values["config"]).items()]


class Parser(argparse.ArgumentParser):
    """argparse for the commands that take no config file of their own; what is wrong becomes a UserError."""

    def __init__(self, description: str, module: str = ""):
        """``module`` is what python -m runs; a script leaves it out and is called by its file."""
        super().__init__(
            prog=f"python -m {module}" if module else f"python {sys.argv[0]}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> None:
        """Raise what argparse would print with its usage."""
        raise UserError(cut(message, 400))


def comma_separated(text: str) -> list[str]:
    """The type of an argument that lists names; argparse's error where it lists none: a shell's variable was empty.

    >>> comma_separated("ce,gcl")
    ['ce', 'gcl']
    """
    if not (found := [part for part in text.split(",") if part]):
        raise argparse.ArgumentTypeError("names nothing; leave the flag out for all")
    return found
