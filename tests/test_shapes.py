"""The shapes in the signatures of losses, rules after training and samplers are those that their tests run with."""

import os
import subprocess
import sys

import jax.numpy as jnp
import pytest
from conftest import ROOT

from gcl_jax import losses

CHECKED = [f"gcl_jax.{name}" for name in ("losses", "contrastive", "centroids", "posthoc", "sampling")]
PACKAGE = ROOT / "gcl_jax"
FILES = ["losses", "contrastive", "posthoc", "sampling", "cycle_samplers", "oltr"]


def _checked(*arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *arguments]
    command.append(f"--jaxtyping-packages={','.join(CHECKED)},beartype.beartype")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:]


def test_doctests_pass_with_shapes_checked():
    _checked(
        *(str(PACKAGE / name) for name in ("losses.py", "contrastive.py", "centroids.py", "posthoc.py", "sampling"))
    )


@pytest.mark.slow
def test_tests_pass_with_shapes_checked():
    _checked(*(f"tests/test_{name}.py" for name in FILES))


def test_a_wrong_shape_is_found():
    script = f"""
from jaxtyping import install_import_hook
with install_import_hook({CHECKED}, "beartype.beartype"):
    from gcl_jax import losses
import jax.numpy as jnp
losses.cross_entropy(jnp.zeros((2, 3)), jnp.zeros(4, int))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "jaxtyping.TypeCheckError" in done.stderr, done.stderr


def test_nothing_is_checked_by_default():
    with pytest.raises(Exception, match=r"Incompatible shapes|incompatible|broadcast") as raised:
        losses.logit_adjusted(jnp.zeros((2, 3)), jnp.zeros(2, int), jnp.zeros(4))
    assert "jaxtyping" not in type(raised.value).__module__
