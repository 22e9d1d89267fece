"""Modules from outside: every command imports those that a config names."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT
from ml_collections import ConfigDict
from tiny import digits, override

from gcl_jax import methods
from gcl_jax.config import migrate, validation
from gcl_jax.errors import UserError

METHOD = '''
import dataclasses
from gcl_jax import losses, methods

@dataclasses.dataclass(frozen=True)
class Mine(methods.Method):
    """CE with a temperature."""

    temperature: float = 2.0

    def loss(self, key, out, batch, t, info):
        return methods.LossOut(losses.cross_entropy(out["scores"] / self.temperature, batch["label"]))

methods.register("mine_from_outside", Mine)
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that registers a method, on the path and not imported yet."""
    (tmp_path / "my_method_from_outside.py").write_text(METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_method_from_outside"
    sys.modules.pop("my_method_from_outside", None)
    methods.METHODS.pop("mine_from_outside", None)


def of(module):
    config = override(digits(), {"stages": ("representation",), "plugins": (module,)})
    config.representation.method = ConfigDict({"name": "mine_from_outside", "temperature": 3.0})
    config.representation.head = "linear"
    return config


@pytest.mark.parametrize("read", [validation.validate, migrate.with_defaults], ids=["a config file", "a run's config"])
def test_a_method_is_known_once_its_module_is_named(module, read):
    """A run's config.json is all that predict, export and report read."""
    read(of(module))
    assert methods.METHODS["mine_from_outside"].__name__ == "Mine"


OPTIMIZER = '''
import dataclasses
from gcl_jax.optim import OPTIMIZERS, SGD
from gcl_jax.registry import option

@dataclasses.dataclass(frozen=True)
class Mine(SGD):
    """SGD with a key more."""

    key_from_outside: float = option(0.5, "[0, 1]")

OPTIMIZERS.register("optimizer_from_outside", Mine)
'''


def test_keys_of_a_plugin_that_only_the_command_line_names(tmp_path):
    """In a process of its own: the keys of a registered optimizer stand in every config from then on."""
    (tmp_path / "an_optimizer_from_outside.py").write_text(OPTIMIZER)
    code = """
import sys
from gcl_jax import command_line
from gcl_jax.config import validation
config = command_line.config_of(["main", *sys.argv[1:]])
validation.validate(config)
print(config.representation.optimizer.key_from_outside)
"""
    done = subprocess.run(
        [
            sys.executable, "-c", code, f"--config={ROOT}/configs/digits_lt.py:gcl",
            "--config.plugins=('an_optimizer_from_outside',)",
            "--config.representation.optimizer.name=optimizer_from_outside",
            "--config.representation.optimizer.key_from_outside=0.25",
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.stdout == "0.25\n", done.stderr


def test_without_it_the_method_is_unknown(module):
    with pytest.raises(UserError, match=r"method\.name is 'mine_from_outside'"):
        validation.validate(override(of(module), {"plugins": ()}))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "ModuleNotFoundError: No module named 'broken_plugin'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch, content, told):
    if content is not None:
        (tmp_path / "broken_plugin.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=rf"config\.plugins: 'broken_plugin' cannot be imported .{told}.*PYTHONPATH"):
        validation.validate(override(digits(), {"plugins": ("broken_plugin",)}))


@pytest.mark.parametrize("plugins", [(1,), ("a", None)])
def test_names_are_text(plugins):
    config = digits()
    with config.unlocked():
        config.plugins = plugins
    with pytest.raises(UserError, match=r"config\.plugins"):
        validation.validate(config)
