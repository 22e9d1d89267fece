"""Whatever stands on the command line is parsed or named in one line: no traceback, no message of pages."""

import re

import numpy as np
import pytest
from absl import flags
from conftest import ROOT
from test_command_line import DIGITS

from gcl_jax import command_line, predict
from gcl_jax.config import validation
from gcl_jax.errors import UserError
from gcl_jax.report import __main__ as report

LONG = "9" * 5000


def line(message):
    """``message``, which is a line of what can be printed, and no page."""
    assert message.isprintable()
    assert len(message) < 1100
    return message


def attempt(arguments):
    """What main does with ``arguments`` before it imports JAX: None, or the one line that it ends with."""
    argv, values = ["main", *arguments], flags.FlagValues()
    try:
        command_line.define_config(argv, values)
        flags.DEFINE_string("workdir", None, "", flag_values=values)
        flags.DEFINE_bool("eval_only", False, "", flag_values=values)
        flags.DEFINE_integer("num_processes", None, "", flag_values=values, upper_bound=100_000)
        command_line.parse(argv, values)
        validation.validate(values.config)
    except UserError as error:
        return line(str(error))
    return None


HOSTILE = [
    ("--config.=1", "config. names no key; write --config.KEY=VALUE"),
    ("--config.", "config. names no key"),
    ("--config..seed=1", "config..seed names no key"),
    ("--config.data.=x", "config.data. names no key"),
    ("--noconfig.=1", "config. names no key"),
    ("--noconfig.data.flip=1", "--noconfig.data.flip=1 does not take an argument"),
    ("--config.seed=", "config.seed is ''; it must be of type int, such as 0"),
    ("--config.seed", "Missing value for flag --config.seed"),
    ("--config.data.mean=", "an entry of config.data.mean is ''; it must be a float"),
    (f"--config.data.mean={'(' * 5000}{')' * 5000}", "an entry of config.data.mean is '((((((("),
    (f"--config.data.mean={'[' * 5000}", "an entry of config.data.mean is '[[[[["),
    (f"--config.data.mean={'-' * 5000}1", "is nested too deeply to be read"),
    (f"--config.data.mean={'not ' * 5000}1", "is nested too deeply to be read"),
    (
        f"--config.data.mean=({'9' * 400},)",
        "an entry of config.data.mean is a number of about 401 digits; it must",
    ),
    (f"--config.data.mean=({LONG},)", "config.data.mean is '(9999"),
    (f"--config.seed={LONG}", "config.seed is '9999"),
    (f"--config.seed={10**21}", "config.seed is a number of about 22 digits; it must lie in [0, 4294967295]"),
    ("--config.representation.epochs=1000000000000", "config.representation.epochs is 1000000000000; it must lie in"),
    ("--config.data.crop_padding=9223372036854775808", "config.data.crop_padding is 9223372036854775808; it must lie"),
    (f"--config.data.imbalance_ratio={LONG}", "config.data.imbalance_ratio is inf; give a finite number"),
    ("--config.data.validation_fraction=-0.0", "config.data.validation_fraction is -0.0; write 0.0"),
    ("--config.data.name=\0", r"config.data.name is '\x00'; it must be without the character \0"),
    ("--config.seed=\0", r"config.seed is '\x00'; it must be of type int"),
    ("--config.se\0ed=1", r"config.se\x00ed does not exist; the nearest is config.seed"),
    ("--config.seed=\udcff", r"config.seed is '\udcff'; it must be of type int"),
    ("--config.\udcff=1", r"config.\udcff does not exist; there is"),
    (f"--config.{'x' * 5000}=1", "config.xxxx"),
    (f"--config.{'a.' * 5000}b=1", "config.a.a.a"),
    ("--config.data.__class__=1", "config.data.__class__ does not exist"),
    ("--config.data.mean[0]=1", "config.data.mean[0] does not exist; the nearest is config.data.mean"),
    ("--config.data={}", "config.data.source is missing"),
    ("--x\ny=1", r"Unknown command line flag 'x\ny'"),
    ("--lr=0.1", "Unknown command line flag 'lr'; the nearest are config.classifier.optimizer.learning_rate"),
    ("--seed=1", "Unknown command line flag 'seed'; write --config.seed=VALUE"),
    ("--noeval_only=1", "--noeval_only=1 does not take an argument"),
    (f"--num_processes={LONG}", "--num_processes=9999"),
    ("--num_processes=10000000", "--num_processes=10000000: "),
    ("--flagfile=nowhere", "--flagfile=nowhere: there is no such file"),
    ("--flagfile=", "--flagfile=: there is no such file"),
    ("--flagfile=\0", r"--flagfile=\x00: there is no such file"),
    ("--flagfile=/dev/zero", "--flagfile=/dev/zero: there is no such file"),
    ("--helpful", "Unknown command line flag 'helpful'"),
    ("--=", "'--=' is no flag"),
    ("", "'' is no flag"),
]


@pytest.mark.parametrize(("argument", "told"), HOSTILE, ids=[ascii(a)[:40] for a, _ in HOSTILE])
def test_a_hostile_argument_is_named(argument, told):
    assert told in (attempt([DIGITS, argument]) or "parsed")


CONFIGS = ["", "\0", "\udcff", "x" * 400, "x/" * 3000, ".", "/dev/null", "/dev/zero", ":", ":100", "~", "-", "--config"]


@pytest.mark.parametrize("path", CONFIGS, ids=[ascii(path)[:40] for path in CONFIGS])
def test_a_config_that_is_no_file_is_named(path):
    told = attempt([f"--config={path}"])
    assert told.startswith("--config")
    assert re.search(r"there is no|is missing|cannot be read|name a regular file|too long", told), told


@pytest.mark.parametrize("argument", ["abc", "", "1:2", "nan", "1e400", "-1", "0", LONG, "\0", "(" * 5000, "\udcff"])
def test_a_ratio_that_is_none_is_named(argument):
    told = attempt([f"{DIGITS},{argument}"])
    assert "the imbalance ratio is" in told


@pytest.mark.parametrize("arguments", [[], ["--config"], ["--config", "--workdir=x"], ["--config.seed=1"]])
def test_a_config_that_is_missing_is_asked_for(arguments):
    assert "--config" in attempt(arguments)


def test_of_an_override_that_is_given_twice_the_last_counts():
    """As everywhere on a command line, so that a script can append what it is given."""
    assert command_line.config_of(["x", DIGITS, "--config.seed=1", "--config.seed=2"]).seed == 2


def test_a_flag_that_is_given_twice_alike_is_one():
    assert attempt([DIGITS, "--config.seed=1", "--config.seed=1", "--eval_only", "--eval_only"]) is None


COMMANDS = [
    (predict.parse, ["--workdir=x", "a.png"], ["--top", "--csv", "--stage"]),
    (report.parse, ["embedding", "--workdir=x"], ["--images", "--label", "--out", "--stage"]),
]


@pytest.mark.parametrize(("parse", "given", "options"), COMMANDS, ids=["predict", "report"])
def test_other_commands_name_what_is_hostile(parse, given, options):
    for option in options:
        for value in ["--", "", "\0", "\udcff", LONG, "-" + LONG, "(" * 5000, str(10**12), "1e400", "nan", "-0", "²"]:
            try:
                parse([*given, f"{option}={value}"])
            except UserError as error:
                line(str(error))
    for option in ("--images", "--top"):
        if option in options:
            for value in ("--", LONG, str(10**12), "0", "-1"):
                with pytest.raises(UserError):
                    parse([*given, f"{option}={value}"])


PARTS = [
    "seed", "data", "data.mean", "representation", "representation.epochs", "method", "name", "photos.size", "stages",
    "optimizer.learning_rate", "--config", "--noconfig", "-config", "--workdir", "--eval_only", "--noeval_only", "--",
    "--num_processes", "--undefok", "-", "=", ".", ":", ",", "0", "-1", "1e999", "nan", "-0.0", "True", "None", "(",
    ")", "[", "]", "{", "}", "'", '"', "\\", "\n", "\0", "\udcff", "\u202e", "é", " ", "9" * 400, LONG, "x" * 300,
    "/dev/null", "/dev/zero", DIGITS, f"{ROOT}/configs/digits_lt.py:gcl", "lambda: 0", "1,2", "()", "{}", "%s", "../",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_no_list_of_arguments_is_answered_by_a_traceback(seed):
    """100 drawn lists each: whole flags and pieces of them, in any order."""
    generator = np.random.default_rng(seed)

    def argument():
        form = generator.integers(4)
        parts = generator.choice(PARTS, generator.integers(1, 5)).tolist()
        if form == 0:
            return "".join(parts)
        key = ".".join(generator.choice(PARTS[:10], generator.integers(1, 4)).tolist())
        begin, equals = ["--config", "-config", "--noconfig"][form - 1], "=" * int(generator.random() < 0.9)
        return f"{begin}.{key}{equals}{''.join(parts)}"

    for _ in range(100):
        arguments = [argument() for _ in range(generator.integers(1, 4))]
        if generator.random() < 0.9:
            arguments.insert(0, DIGITS)
        try:
            attempt(arguments)
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} on {ascii(arguments)[:2000]}") from error
