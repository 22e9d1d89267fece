"""What --help says a command is called: as it is typed, whatever the file is called that answers it."""

import argparse

import pytest

from gcl_jax import command_line, export, predict
from gcl_jax.data import __main__ as data
from gcl_jax.report import __main__ as report
from gcl_jax.table import __main__ as table

COMMANDS = {"table": table, "data": data, "report": report, "predict": predict, "export": export}


@pytest.mark.parametrize("name", COMMANDS)
def test_usage_names_the_command_as_it_is_typed(name, capsys):
    with pytest.raises(SystemExit) as end:
        COMMANDS[name].parse(["--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: python -m gcl_jax.{name} [-h]")
    assert "__main__" not in told
    assert ".py [" not in told


def test_a_script_is_called_by_its_file(monkeypatch):
    monkeypatch.setattr("sys.argv", ["launch/sweep.py", "--x"])
    assert command_line.Parser("what it does").format_usage().startswith("usage: python launch/sweep.py ")
    assert isinstance(command_line.Parser("what it does"), argparse.ArgumentParser)
