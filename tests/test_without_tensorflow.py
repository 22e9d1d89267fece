"""The core imports and trains where TensorFlow is not installed."""

import json
import os
import subprocess
import sys

from conftest import QUICK, ROOT
from tiny import override_flags

BLOCK = """
import sys, runpy

class WithoutTensorFlow:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in ("tensorflow", "tensorflow_datasets", "tensorboard"):
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(WithoutTensorFlow, sys.meta_path)
"""


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *arguments],
        cwd=ROOT,
        env=os.environ | QUICK,
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_every_core_room_imports():
    code = """
import importlib, pkgutil, gcl_jax
for module in pkgutil.walk_packages(gcl_jax.__path__, "gcl_jax."):
    if module.name not in ("gcl_jax.main", "gcl_jax.data.decode"):  # flags of its own; TensorFlow's operations
        importlib.import_module(module.name)
print("all")
"""
    done = run(code)
    assert done.stdout.strip() == "all", done.stderr


def test_nothing_heavy_is_imported_by_the_package_itself():
    code = "import gcl_jax\nprint([m for m in ('jax', 'flax', 'numpy') if m in sys.modules])"
    assert run(code).stdout.strip() == "[]"


def test_a_run_trains_says_that_tensorboard_is_off_and_goes_on(tmp_path):
    flags = override_flags(representation__epochs=1, classifier__epochs=1, log__tensorboard=True)
    done = run(
        "sys.argv = ['main', *sys.argv[1:]]\nrunpy.run_module('gcl_jax.main', run_name='__main__')",
        "--config=configs/digits_lt.py:gcl", f"--workdir={tmp_path}", *flags,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("TensorBoard is off: tensorflow is missing") == 2
    assert json.loads((tmp_path / "result.json").read_text())["data"]["num_train"] == 304
    assert (tmp_path / "metrics.jsonl").exists()


def test_what_needs_tensorflow_says_so(tmp_path):
    for flags in (["--config.data.loader=host"], ["--config.data.source=tfds", "--config.data.name=cifar10"]):
        done = run(
            "sys.argv = ['main', *sys.argv[1:]]\nrunpy.run_module('gcl_jax.main', run_name='__main__')",
            "--config=configs/digits_lt.py:gcl", f"--workdir={tmp_path / 'x'}", *flags,
        )  # fmt: skip
        assert done.returncode == 1
        assert "pip install 'gcl_jax[tf]'" in done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "x").exists()
