"""From the command line to a config, or to one clear line about what is wrong with it."""

import argparse
import contextlib
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags import tuple_parser

from gcl_jax import config as config_lib
from gcl_jax import config_files, regular_files
from gcl_jax.config.plugins import load_plugins
from gcl_jax.errors import UserError, cut, shown

HELP = re.compile(r"--?(help|helpshort|helpfull|helpxml)(=.*)?")
LONGEST = 1000  # characters of a message


@contextlib.contextmanager
def _in_printable_line() -> Iterator[None]:
    """Write control characters of a UserError, which quotes the command line, as Python does, and cut it if long."""
    try:
        yield
    except UserError as error:
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))
        raise UserError(text if len(text) <= LONGEST else f"{text[:LONGEST]} ...") from error


@_in_printable_line()
def define_config(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> flags.FlagHolder:
    """The flag --config and its overrides, defined in ``values``, which ``argv`` is yet to be parsed into.

    Raises UserError for a --flagfile=FILE of absl's that is no text file: that is read here already.
    """
    for i, argument in enumerate(argv):
        flag, equals, path = argument.partition("=")
        if flag in ("-flagfile", "--flagfile"):
            path = path if equals else "".join(argv[i + 1 : i + 2])
            if not _is_file(path):
                raise UserError(f"--flagfile={path}: there is no such file")
            try:
                pathlib.Path(path).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise UserError(f"--flagfile={path} cannot be read ({error})") from error
    text = "Config file of a data set, a row and its ratio or folder, such as configs/cifar10_lt.py:gcl,100."
    return config_flags.DEFINE_config_file("config", None, text, flag_values=values, sys_argv=list(argv))


@_in_printable_line()
def parse(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Parse ``argv`` into ``values``; every way in which it can be wrong becomes a UserError.

    Overrides are looked up in the config file first, so that a typo is answered with the
    nearest key and nothing has been started.
    """
    _parse(argv, values)


def _parse(argv, values):
    config = ConfigDict()
    if not any(HELP.fullmatch(argument) for argument in argv):
        config = _load(argv)
        if config.get("plugins", ()):  # a file that only names them: its blocks lack the keys of what they register
            load_plugins(config)
            config = _load(argv)
        argv = _resolved(argv)
        for argument in argv[1:]:
            match = re.match(r"--?(?:no)?config\.([^=]*)", argument)
            if match and (complaint := config_lib.unknown_key(config, match[1])):
                raise UserError(complaint)
    try:
        rest = values(list(argv))
    except flags.IllegalFlagValueError as error:
        raise UserError(_bad_value(str(error), config)) from error
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown_flag(error, config)) from error
    except flags.Error as error:
        raise UserError(str(error).replace("\n", "\\n")) from error
    except (RecursionError, MemoryError) as error:  # of Python's parser, on a tuple
        raise UserError(f"{shown(max(argv, key=len))} is nested too deeply to be read") from error
    except ValueError as error:  # absl's, of --noFLAG=VALUE
        raise UserError(str(error).splitlines()[0]) from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is no flag; write --config.KEY=VALUE, without spaces around =")


def _is_file(path):
    try:
        return pathlib.Path(path).is_file()
    except (OSError, ValueError):  # a name that is too long, or none that a file can have
        return False


@_in_printable_line()
def config_of(argv: Sequence[str]) -> ConfigDict:
    """The config that ``argv`` names, a command's name and then flags, with its overrides; UserError as from `parse`.

    For what is no run itself: absl's own flags stay as they are, and of a key that comes twice the last one counts.
    """
    values = flags.FlagValues()
    define_config(argv, values)
    _parse(argv, values)
    return values.config


def _config_arguments(argv: Sequence[str]) -> dict[int, tuple[str, str]]:
    """{place in ``argv``: (what stands before the path, the path)} of every --config=PATH and --config PATH."""
    arguments = {}
    for i, argument in enumerate(argv):
        if i and re.fullmatch(r"--?config", argv[i - 1]):
            arguments[i] = ("", argument)
        elif match := re.fullmatch(r"(--?config=)(.*)", argument, re.DOTALL):
            arguments[i] = (match[1], match[2])
    return arguments


def _resolved(argv: Sequence[str]) -> list[str]:
    """``argv`` with the path of every config file as `config_files.resolve` has it."""
    resolved = {i: before + config_files.resolve(path) for i, (before, path) in _config_arguments(argv).items()}
    return [resolved.get(i, argument) for i, argument in enumerate(argv)]


def _load(argv: Sequence[str]) -> ConfigDict:
    """The config file named on the command line, before any override."""
    named = list(_config_arguments(argv).values())
    if not named or not named[-1][1] or re.fullmatch(r"--?config", argv[-1]):
        raise UserError("--config is missing; for example --config=configs/digits_lt.py:gcl")
    load_plugins_of(argv)
    values = flags.FlagValues()
    define_config([""], values)  # without the overrides
    path = named[-1][1]
    there = config_files.resolve(path)
    regular_files.find(there.split(":")[0], f"--config={cut(path)}")
    try:
        values(["", f"--config={there}"])
        config = values.config
    except Exception as error:  # a config file is code: whatever it raises is the user's
        if message := _user_error(error):
            raise UserError(f"--config={cut(path)}: {message}") from error
        cause = error.__cause__ or error.__context__ or error
        reason = str(error).strip().splitlines()[-1].strip() or type(cause).__name__
        raise UserError(f"--config={cut(path)} cannot be loaded: {cut(reason)}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={cut(path)}: its get_config() must return a ConfigDict, not {type(config).__name__}")
    return config


def load_plugins_of(argv: Sequence[str]) -> None:
    """Import the modules of --config.plugins: what they register may be the row that the config file is asked for."""
    for argument in argv:
        if match := re.fullmatch(r"--?config\.plugins=(.*)", argument, re.DOTALL):
            names: tuple = ()
            with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):  # said when it is parsed
                names = tuple_parser.TupleParser().parse(match[1])
            if all(isinstance(name, str) for name in names):
                load_plugins({"plugins": names})


def _user_error(error: BaseException | None) -> str:
    """The message of the UserError that ``error`` began with, or "": ml_collections and absl wrap it in their own."""
    message = ""
    while error:
        if isinstance(error, UserError):
            message = str(error)
        error = error.__cause__ or error.__context__
    return message


def _unknown_flag(error, config):
    described = str(error).replace("\n", "\\n")
    if "Did you mean" in described:
        return described
    complaint = config_lib.unknown_key(config, error.flagname)
    if complaint is None:
        return f"{described}; write --config.{error.flagname}=VALUE"
    return described + ("; " + complaint.rpartition("; ")[2] if "; the nearest" in complaint else "")


def _bad_value(message: str, config: ConfigDict) -> str:
    match = re.match(r"flag --config\.([^=]+)=(.*?): ", message, re.DOTALL)
    if not match:
        first, *rest = [line.strip() for line in message.splitlines() if line.strip()]
        # Of a config file that fails when it is read again, ml_collections tells the reason in the last line only.
        return re.sub(r"^flag --", "--", rest[-1] if rest and first.endswith("parsing config file:") else first)
    value = config_lib.value_at(config, match[1])
    if isinstance(value, ConfigDict):
        return f"config.{match[1]} is a block of keys; set them one by one: {', '.join(value)}"
    return f"config.{match[1]} is {shown(match[2])}; it must be of type {type(value).__name__}, such as {value!r}"


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

    @_in_printable_line()
    def parse_known_args(  # type: ignore[override]  # argparse takes any object for a namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple:
        """As argparse's, but --FLAG=-- is a UserError."""
        for argument in sys.argv[1:] if args is None else args:
            if re.fullmatch(r"-[^=]*=--", argument):
                raise UserError(f"{argument!r}: -- is no value")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with its usage."""
        raise UserError(cut(message, 400))


def comma_separated(text: str) -> list[str]:
    """The type of an argument that lists names; argparse's error where it lists none: a shell's variable was empty.

    >>> comma_separated("ce,gcl")
    ['ce', 'gcl']
    """
    if not (parts := [part for part in text.split(",") if part]):
        raise argparse.ArgumentTypeError("names nothing; leave the flag out for all")
    return parts
