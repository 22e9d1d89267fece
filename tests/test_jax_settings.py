"""JAX's settings: every one is known, and none changes a command's numbers without a word."""

import copy
import json
import os
import subprocess
import sys

import jax
import pytest
from conftest import ROOT
from tiny import digits

from gcl_jax.config import stage_fingerprint
from gcl_jax.errors import UserError
from gcl_jax.runtime import jax_settings as settings
from gcl_jax.training.stage_run import StageRun
from gcl_jax.workdir import ownership, results

GROUPS = {
    "PINNED": set(settings.PINNED),
    "FINGERPRINTED": set(settings.FINGERPRINTED),
    "BY_CONFIG": set(settings.BY_CONFIG),
    "LEFT_AT_DEFAULT": set(settings.LEFT_AT_DEFAULT),
    "COMPILER": set(settings.COMPILER),
    "HARMLESS": set(settings.HARMLESS),
}


def test_every_setting_of_jax_is_in_one_group():
    """A JAX that has another setting fails here: put it where it belongs."""
    counted = [name for group in GROUPS.values() for name in group]
    assert len(counted) == len(set(counted))
    assert set(jax.config.values) <= set(counted)


@pytest.fixture
def kept():
    """What a test changes of JAX's settings is as before after it."""
    before = {name: getattr(jax.config, name) for name in (*settings.PINNED, *settings.FINGERPRINTED)
              if name in jax.config.values}  # fmt: skip
    yield before
    for name, value in before.items():
        jax.config.update(name, getattr(value, "value", value) if name != "jax_explicit_x64_dtypes" else "warn")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_default_prng_impl", "rbg"),
        ("jax_threefry_partitionable", False),
        ("jax_random_seed_offset", 7),
        ("jax_numpy_rank_promotion", "raise"),
        ("jax_numpy_dtype_promotion", "strict"),
        ("jax_high_dynamic_range_gumbel", True),
        ("jax_disable_jit", True),
    ],
)
def test_commands_pin_it_and_an_import_does_not(kept, name, value):
    jax.config.update(name, value)
    import gcl_jax.main  # noqa: F401

    assert getattr(jax.config, name) == value
    assert results.environment()["jax_settings"][name] == value
    settings.pin()
    assert getattr(jax.config, name) == settings.PINNED[name]
    assert results.environment()["jax_settings"][name] == settings.PINNED[name]


@pytest.mark.parametrize(
    ("variable", "stays"),
    [
        ("JAX_DEFAULT_PRNG_IMPL=nonsense", False),
        ("JAX_NUMPY_RANK_PROMOTION=raise", False),
        ("JAX_DEFAULT_MATMUL_PRECISION=bfloat16", False),
        ("JAX_DEBUG_NANS=1", False),
        ("JAX_TRANSFER_GUARD=disallow", False),
        ("JAX_SCAN3=1", False),
        ("JAX_ENABLE_X64=1", True),
        ("JAX_DISABLE_MOST_OPTIMIZATIONS=1", True),
        ("JAX_NUM_CPU_DEVICES=2", True),
    ],
)
def test_what_is_not_used_is_named(monkeypatch, capsys, variable, stays):
    name, value = variable.split("=")
    monkeypatch.setenv(name, value)
    settings.drop_unused()
    assert (name in os.environ) == stays
    assert (variable in capsys.readouterr().err) != stays


def test_x64_is_part_of_whose_run_it_is(kept, tmp_path):
    config = digits()
    before = stage_fingerprint.training_keys(config, "classifier")
    assert "jax_enable_x64" not in before  # so that older folders are of a run without
    (tmp_path / "representation" / "checkpoints" / "5").mkdir(parents=True)
    keys = ownership.keys_of(config, ["representation"], False)
    (tmp_path / "config.json").write_text(json.dumps({"training": keys}))
    jax.config.update("jax_enable_x64", True)
    after = stage_fingerprint.training_keys(config, "classifier")
    assert stage_fingerprint.stage_key(before, "data") != stage_fingerprint.stage_key(after, "data")
    assert results.environment()["jax_settings"]["jax_enable_x64"] is True
    with pytest.raises(UserError, match=r"config.jax_enable_x64: absent -> True"):
        ownership.compare(ownership.epath.Path(tmp_path), ownership.keys_of(config, ["representation"], False))


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({}, {}, ""),
        ({"XLA_FLAGS": "--a"}, {"XLA_FLAGS": "--a"}, ""),
        ({}, {"XLA_FLAGS": "--a"}, ", compiled otherwise (XLA_FLAGS '' -> '--a'): equal but for rounding"),
        ({"XLA_FLAGS": "--a"}, {}, ", compiled otherwise (XLA_FLAGS '--a' -> ''): equal but for rounding"),
        ({}, {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}, ", compiled otherwise (JAX_DISABLE_MOST_OPTIMIZATIONS '' -> '1'"),
        ({}, {"JAX_SOMETHING_NEW": "1"}, ", compiled otherwise (JAX_SOMETHING_NEW '' -> '1'"),
        ({}, {"JAX_LOG_COMPILES": "1", "JAX_PROCESS_ID": "0", "JAX_COMPILATION_CACHE_DIR": "/x"}, ""),
        (None, {"XLA_FLAGS": "--a"}, ""),  # an older version's checkpoint
    ],
)
def test_a_run_that_goes_on_under_another_compiler_says_so(monkeypatch, then, now, told):
    monkeypatch.setattr(settings, "compiler", lambda: settings.of_compiler(now))
    note = {} if then is None else {"compiler_environment": then}
    found = StageRun._other_compiler(copy.deepcopy(note))
    assert found.startswith(told) and bool(found) == bool(told)  # noqa: PT018


@pytest.mark.parametrize("variable", ["JAX_PLATFORMS=cuda", "JAX_PLATFORMS=nonsense", "JAX_PLATFORM_NAME=tpu"])
def test_a_device_that_is_not_there(monkeypatch, variable):
    name, value = variable.split("=")

    def devices():
        raise RuntimeError(f"Unable to initialize backend '{value}'\nand more")

    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax, "devices", devices)
    pattern = rf"^JAX finds no device to compute on \(Unable.*{value}'\): the environment says {variable}; unset it"
    with pytest.raises(UserError, match=pattern):
        settings.pin()


@pytest.mark.parametrize("package", ["data", "report", "table", "benchmark"])
def test_a_command_that_is_a_package_looks_at_the_settings_before_jax_does(package):
    """`python -m gcl_jax.data` imports gcl_jax.data before the first line of its command."""
    code = f"import sys, gcl_jax.{package}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("variable", ["JAX_ENABLE_X64=maybe", "JAX_LOG_COMPILES=2", "JAX_NUM_CPU_DEVICES=x"])
def test_a_look_at_data_says_in_one_line_why_jax_does_not_start(variable):
    command = [sys.executable, "-m", "gcl_jax.data", "inspect", "--config=configs/digits_lt.py:ce"]
    environment = os.environ | dict([variable.split("=")])
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: JAX does not start")
    assert variable in done.stderr


COMMANDS = {
    "main": ["--config=configs/digits_lt.py:ce", "--workdir={0}/run"],
    "table": ["table1", "--workdir={0}", "--dataset=digits_lt", "--ratio=100", "--only=ce"],
    "predict": ["--workdir={0}", "README.md"],
    "export": ["--workdir={0}", "--out={0}/out"],
    "report": ["embedding", "--workdir={0}", "--out={0}"],
    "benchmark": ["step", "--rounds=1"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "variable", ["JAX_PLATFORMS=cuda", "JAX_PLATFORMS=gpu", "JAX_PLATFORMS=no", "JAX_ENABLE_X64=maybe"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_it_in_one_line(tmp_path, command, variable):
    name, value = variable.split("=")
    arguments = [argument.format(tmp_path) for argument in COMMANDS[command]]
    done = subprocess.run(
        [sys.executable, "-m", f"gcl_jax.{command}", *arguments], cwd=ROOT, env=os.environ | {name: value},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[-1:] if command == "benchmark" else done.stderr.splitlines()
    assert line.startswith("error: ")
    assert variable in line
    assert "Traceback" not in done.stderr
