"""Fixtures of all tests: reference values where they are there, and exact arithmetic."""

import json
import os
from pathlib import Path

# Before JAX starts: tests look at one device unless they start a process of their own.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np
import pytest

jax.config.update("jax_default_matmul_precision", "highest")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def relative_error(ours, theirs) -> float:
    """max|a - b| / max|b|, the measure of every parity bound; absolute where b is all zeros."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    scale = np.abs(theirs).max()
    return float(np.abs(ours - theirs).max() / (scale if scale > 0 else 1.0))


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the repository (../shared)")
    return path


@pytest.fixture(scope="session")
def official():
    """Values computed with the authors' published code."""
    with np.load(_shared("reference/official_gcl_reference.npz")) as npz:
        return {name: npz[name] for name in npz.files}


@pytest.fixture(scope="session")
def stage1_weights():
    """The authors' modules after 200 epochs of stage 1 on CIFAR-10-LT, ratio 100."""
    return _shared("reference/gcl_stage1_cifar10_lt100.npz")


@pytest.fixture(scope="session")
def subsets():
    """Hashes of the long-tailed subsets."""
    return json.loads(_shared("reference/long_tail_subsets.json").read_text())


@pytest.fixture(scope="session")
def cifar_tool():
    """The script that writes the CIFAR packs as npz or TFDS."""
    return _shared("data/cifar.py")
