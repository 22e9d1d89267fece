"""TensorFlow is imported in one place, says nothing, and leaves JAX's environment alone."""

import ast
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from gcl_jax.runtime import quiet_tensorflow

HEAVY = ("tensorflow_datasets", "clu")  # import TensorFlow themselves


def imported(node):
    names = (
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "") or ""]
    )
    return {name.split(".")[0] for name in names}


def without_typing(tree):
    """``tree`` without what is imported for a type checker only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return tree


def test_it_is_imported_in_one_place_and_before_what_imports_it():
    found = set()
    for file in (ROOT / "gcl_jax").rglob("*.py"):
        tree = without_typing(ast.parse(file.read_text()))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and "tensorflow" in imported(node):
                found.add(file.name)
        for block in (node for node in ast.walk(tree) if isinstance(node, ast.Try | ast.FunctionDef)):
            for before, node in zip([None, *block.body], block.body, strict=False):
                if isinstance(node, ast.Import | ast.ImportFrom) and imported(node) & {*HEAVY}:
                    assert before is not None, (file, node.lineno)
                    assert ast.unparse(before) == "quiet_tensorflow.load()", (file, node.lineno)
                    found.add(file.name)
    assert found == {"quiet_tensorflow.py", "tfds.py", "tfds_list.py", "tfds_folder.py", "logs.py"}


@pytest.mark.parametrize("level", [None, "0", "1", "2", "3"])
def test_the_environment_is_as_it_was(monkeypatch, level):
    pytest.importorskip("tensorflow")
    if level is None:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    else:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    quiet_tensorflow.load.cache_clear()
    assert quiet_tensorflow.load().__name__ == "tensorflow"
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import jax; jax.numpy.ones(3)"])
@pytest.mark.parametrize(
    "used", ["data import decode; decode.problem(open(sys.argv[1], 'rb').read())", "logs import *"]
)
def test_nothing_is_printed(tmp_path, first, used):
    pytest.importorskip("tensorflow")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    code = f"import sys\n{first}\nfrom gcl_jax.{used}\n"
    if "logs" in used:
        code += "TensorBoard(__import__('etils.epath').epath.Path(sys.argv[1] + 's'), True).write(1, {'a': 1.0})"
    environment = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")}
    command = [sys.executable, "-c", code, str(tmp_path / "cut.png")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
