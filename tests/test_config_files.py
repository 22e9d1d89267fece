"""Which file --config names: of a clone, of the installed package, of one's own; and what is wrong with it."""

import subprocess
import sys

import pytest
from conftest import ROOT

from gcl_jax import command_line, config_files
from gcl_jax.errors import UserError
from gcl_jax.recipes import RECIPES
from gcl_jax.table import __main__ as table_command
from gcl_jax.table import plan, specs

RECIPE = '''
"""A row from outside."""

from gcl_jax import config as c
from gcl_jax.recipes import recipe


@recipe("mine", published={"digits_lt": {100: 50.0}})
def mine_from_outside(p):
    """CE at twice the rate."""
    return p.experiment(representation=p.train(c.method("cross_entropy"), rate=2.0))
'''


def config_of(*arguments):
    return command_line.config_of(["test", *arguments])


@pytest.mark.parametrize(
    "form", ["cifar10_lt:gcl,50", "configs/cifar10_lt.py:gcl,50", "gcl_jax/configs/cifar10_lt.py:gcl,50"]
)
@pytest.mark.parametrize("flags", [("--config={}",), ("--config", "{}"), ("-config={}",)])
def test_the_packages_files_are_found_anywhere(tmp_path, monkeypatch, form, flags):
    monkeypatch.chdir(tmp_path)
    config = config_of(*(flag.format(form) for flag in flags), "--config.seed=3")
    assert (config.data.name, config.data.imbalance_ratio, config.seed) == ("cifar10", 50.0, 3)
    assert config.classifier.method.name == "gcl"


def test_a_file_that_is_there_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "digits_lt").mkdir(parents=True)
    text = (ROOT / "configs" / "digits_lt.py").read_text()
    for file in ("digits_lt.py", "digits_lt/gcl.py"):
        (tmp_path / "configs" / file).write_text(text.replace("epochs=80", "epochs=7"))
        assert config_of(f"--config=configs/{file}:ce").representation.epochs == 7
    assert config_of("--config=digits_lt:ce").representation.epochs == 80  # a name is the package's


@pytest.mark.parametrize("prefix", ["configs", str(ROOT / "configs"), "gcl_jax/configs"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cifar10_lt/gcl.py:100", "cifar10_lt.py:gcl,100"),
        ("digits_lt/tau_norm.py", "digits_lt.py:tau_norm"),
        ("folder/gcl.py:my, photos", "folder.py:gcl,my, photos"),
        ("places_lt/oltr.py", "places_lt.py:oltr"),
    ],
)
def test_an_old_file_is_answered_with_the_new_form(prefix, old, new):
    told = f"--config={prefix}/{old} is --config={prefix}/{new} now: one file a data set, which takes the row"
    with pytest.raises(UserError) as error:
        config_of(f"--config={prefix}/{old}")
    assert str(error.value) == told
    config_of(f"--config={prefix}/{new}")


ROWS = ", ".join(sorted(RECIPES))


WITH_RATIO = "write ROW,RATIO behind the colon, such as :gcl,100; rows are " + ROWS
WITH_FOLDER = "write ROW,DIR behind the colon, such as :gcl,photos; rows are " + ROWS


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("configs/digits_lt.py", f"no row is named; {WITH_RATIO}"),
        ("digits_lt:glc,100", f"there is no row 'glc' (did you mean 'gcl'?); {WITH_RATIO}"),
        ("digits_lt:100", f"there is no row '100'; {WITH_RATIO}"),
        ("folder:glc,x", f"there is no row 'glc' (did you mean 'gcl'?); {WITH_FOLDER}"),
        (
            "digits_lt:gcl,10O",
            "the imbalance ratio is '10O' (did you mean '100'?); it must be a number from 1 on, such ",
        ),
        ("digits_lt:gcl,0.5", "the imbalance ratio is '0.5'; it must be a number from 1 on, such as 200, 100, 50, "),
        ("digits_lt:gcl,nan", "the imbalance ratio is 'nan'; it must be"),
        ("digits_lt:gcl,", "the imbalance ratio is ''; it must be"),
        ("digits_lt:gcl,100,50", "the imbalance ratio is '100,50'"),
        (
            "digit_lt:gcl",
            "there is no file digit_lt (did you mean 'digits_lt'?); those of the package are cifar100_lt, ",
        ),
        ("configs/cifar_lt.py:gcl", "there is no file configs/cifar_lt.py (did you mean 'cifar10_lt'?); those of "),
        ("configs/cifar10_lt/glc.py:100", "there is no file configs/cifar10_lt/glc.py"),
    ],
)
def test_what_is_wrong_is_answered_with_what_there_is(given, told):
    with pytest.raises(UserError) as error:
        config_of(f"--config={given}")
    assert str(error.value).startswith(f"--config={given}: {told}")
    assert "\n" not in str(error.value)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module with a recipe, on the path and not imported yet."""
    (tmp_path / "my_recipe_from_outside.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_recipe_from_outside"
    sys.modules.pop("my_recipe_from_outside", None)
    RECIPES.pop("mine_from_outside", None)


@pytest.mark.parametrize("form", ["('{}',)", "{}"])
def test_a_plugins_recipe_is_a_row_everywhere(module, tmp_path, capsys, form):
    plugins = f"--config.plugins={form.format(module)}"
    with pytest.raises(UserError, match="there is no row 'mine_from_outside'"):
        config_of("--config=digits_lt:mine_from_outside,50")
    for dataset in config_files.names():
        config = config_of(f"--config={dataset}:mine_from_outside", plugins)
        assert config.plugins == (module,)
    assert config.representation.optimizer.learning_rate == 0.4  # Places-LT's is 0.2
    arguments = [
        "--workdir",
        str(tmp_path / "t"),
        "--dataset=digits_lt",
        "--only=mine_from_outside",
        "--dry-run",
        plugins,
    ]
    table_command.main(["baselines", *arguments])
    assert (
        "  mine_from_outside: mine   configs/digits_lt.py:mine_from_outside,100   published 50.00"
        in capsys.readouterr().out
    )
    assert [row.name for row in specs.find("baselines").rows[:-1]] == [
        row.name for row in specs.TABLES["baselines"].rows
    ]
    assert specs.find("table1") == specs.TABLES["table1"]


def test_a_plugin_that_is_not_there_is_said_before_the_row(module):
    with pytest.raises(UserError, match=r"config\.plugins: 'my_recipe_from_inside' cannot be imported"):
        config_of("--config=digits_lt:mine_from_outside", "--config.plugins=('my_recipe_from_inside',)")


def test_tables_name_files_that_are_there():
    for dataset, ratio in plan.columns_of(specs.TABLES["table1"], config_files.names(), []):
        for row in specs.TABLES["table1"].rows:
            path = plan.config_file(row, dataset, ratio).partition(":")[0]
            assert (config_files.folder() / path).is_file()


def test_the_wheel_holds_configs_and_recipes(tmp_path):
    """What setup.py adds to pyproject.toml, whose metadata ask for a newer setuptools than many an environment has."""
    pytest.importorskip("setuptools")
    for name in ("setup.py", "configs", "gcl_jax"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", f"--build-lib={tmp_path / 'lib'}"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    built = tmp_path / "lib" / "gcl_jax"
    for folder, source in (("configs", ROOT / "configs"), ("recipes", ROOT / "gcl_jax" / "recipes")):
        theirs = {path.name: path.read_text() for path in source.glob("*.py")}
        assert {path.name: path.read_text() for path in (built / folder).glob("*.py")} == theirs
    code = (
        "import gcl_jax; from gcl_jax import command_line, config_files; print(config_files.folder());"
        "print(command_line.config_of(['x', '--config=gcl_jax/configs/cifar10_lt.py:gcl,100']).data.name)"
    )
    environment = {"PYTHONPATH": str(tmp_path / "lib"), "JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin"}
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "empty", env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(built / "configs"), "cifar10"], done.stderr
