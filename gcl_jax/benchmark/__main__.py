"""Measure: python -m gcl_jax.benchmark {step,epoch,eval,input,startup} [--against=torch] [--json=FILE].

step     a train step on resident data, beside what the machine can do at most
epoch    an epoch through the host loop
eval     predictions of the test set
input    the loaders; with --root=DIR, a folder of JPEGs, of photographs at 224 pixels
startup  whole commands

Run it on an idle machine: contenders share its cores.
"""

from gcl_jax.runtime import command

if __name__ == "__main__":
    command.begin()

import importlib.util
import sys
from pathlib import Path

from absl import app, flags

from gcl_jax import json_files
from gcl_jax.benchmark import measure, report, startup
from gcl_jax.benchmark.subjects import SUBJECTS, Options
from gcl_jax.errors import UserError, exit_on_user_error, require_one_of
from gcl_jax.runtime import streams

STARTUP = "startup"
NAMES = (*SUBJECTS, STARTUP)
PRECISIONS = ("float32", "tf32", "bf16")

_AGAINST = flags.DEFINE_string("against", "", "'torch': PyTorch does the same work, in turns.")
_JSON = flags.DEFINE_string("json", "", "Write the report to this file, too.")
_PRECISION = flags.DEFINE_string("precision", "float32", "float32, tf32 or bf16, of both sides.")
_STEPS = flags.DEFINE_integer("steps", 0, "epoch: stop it after so many steps; 0: whole on an accelerator, 20 on CPU.")
_ROOT = flags.DEFINE_string("root", "", "input: a folder of at least 512 JPEG files, which are re-encoded.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often the contenders take turns.", lower_bound=1, upper_bound=10_000)


@exit_on_user_error()
def main(argv: list[str]) -> None:
    """Measure the subject named; a UserError becomes one line and exit status 1."""
    name = argv[1]
    if name == STARTUP:
        measured = startup.measure(_ROUNDS.value, _say)
    else:
        subject = SUBJECTS[name][0](Options(_PRECISION.value, _STEPS.value, _ROOT.value))
        measured = measure.measure(subject if _AGAINST.value else subject.alone(), _ROUNDS.value, _say)
    result = report.complete(name, _ROUNDS.value, measured)
    print(report.table(result))
    if not _JSON.value:
        streams.require_written()
    if _JSON.value:
        json_files.write(Path(_JSON.value), result)


def check(arguments: list[str], values: flags.FlagValues) -> None:
    """Raise UserError for whatever is wrong with the command line, before anything is measured."""
    if len(arguments) != 1:
        raise UserError(f"name one subject, not {len(arguments)}: {', '.join(NAMES)}")
    name = arguments[0]
    require_one_of("the subject", name, NAMES)
    meant = ("json", "rounds", *(SUBJECTS[name][1] if name in SUBJECTS else ()))
    for flag in ("against", "precision", "steps", "root"):
        if values[flag].present and flag not in meant:
            raise UserError(f"--{flag} means nothing to {name}: leave it out")
    if values["against"].value:
        require_one_of("--against", values["against"].value, ("torch",))
        for module in ("torch", "PIL"):
            if importlib.util.find_spec(module) is None:
                raise UserError(f"--against=torch needs {module}: pip install 'gcl_jax[bench]'")
    require_one_of("--precision", values["precision"].value, PRECISIONS)
    if values["root"].value and not Path(values["root"].value).expanduser().is_dir():
        raise UserError(f"--root={values['root'].value}: there is no such folder")
    if (steps := values["steps"].value or 0) < 0:
        raise UserError(f"--steps is {steps}; it must be 0 (what suits the machine) or positive")
    file = values["json"].value
    if file and Path(file).is_dir():
        raise UserError(f"--json={file} is a folder; name a file")
    if file and not Path(file).absolute().parent.is_dir():
        raise UserError(f"--json={file}: there is no folder {Path(file).parent}")


def _say(text):
    print(text, file=sys.stderr, flush=True)


@exit_on_user_error()
def _parse(argv: list[str]) -> list[str]:
    rest = flags.FLAGS(argv)
    check(rest[1:], flags.FLAGS)
    return rest


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
