"""Training from Python, without a command line."""

import json
import subprocess
import sys

import pytest
from tiny import digits

import gcl_jax
from gcl_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compilation")
SHORT = {"representation.epochs": 1, "eval.every_epochs": 1}


def test_train_is_what_the_command_does(tmp_path):
    result = gcl_jax.train("digits_lt:ce,100", tmp_path / "run", overrides=SHORT)
    assert result["overrides"] == ["--config.representation.epochs=1", "--config.eval.every_epochs=1"]
    assert json.loads(json.dumps(result)) == json.loads((tmp_path / "run" / "result.json").read_text())
    again = gcl_jax.train("digits_lt:ce,100", str(tmp_path / "run"), overrides=SHORT)
    assert again["final"] == result["final"]
    evaluated = gcl_jax.train("digits_lt:ce,100", tmp_path / "run", overrides=SHORT, eval_only=True)
    assert evaluated["final"]["test"]["accuracy"] == result["final"]["test"]["accuracy"]


def test_a_config_is_taken_as_it_is(tmp_path):
    config = digits(stages=("representation",))
    result = gcl_jax.train(config, tmp_path, overrides={"representation.epochs": 1, "seed": 3})
    assert (result["seed"], result["config"]["representation"]["epochs"]) == (3, 1)
    assert (config.seed, config.representation.epochs) == (0, 2)  # the caller's is as it was


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"sed": 1}, "config.sed does not exist; the nearest is config.seed"), ({"seed": "x"}, "overrides: .*seed")],
)
def test_wrong_overrides_are_named(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        gcl_jax.train(digits(), tmp_path / "run", overrides=overrides)
    assert not (tmp_path / "run").exists()


def test_the_package_alone_imports_nothing_heavy():
    code = "import sys, gcl_jax; dir(gcl_jax); print(sorted({'jax', 'numpy', 'ml_collections'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "train" in dir(gcl_jax)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        gcl_jax.trian  # noqa: B018
