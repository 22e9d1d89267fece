"""Fixtures of all tests: reference values where they are there, and exact arithmetic."""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

# Before JAX starts: two CPU devices, so that sharding is on everywhere, and one compilation cache for this run of
# the tests and the processes it starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
CACHE = Path(tempfile.gettempdir()) / f"gcl_jax_tests_{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# A shell that starts the tests in the background has turned the one off, nohup the other.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_default_matmul_precision", "highest")

# Scripts, and what needs PyTorch: test_benchmark.py and test_pretrained.py run with_torch*.py by name, in processes
# of their own.
collect_ignore_glob = [
    "fixtures/*",
    "extend/plugins/*",
    "extend/experiments.py",
    "run_and_kill.py",
    "equivalence.py",
    "several_processes.py",
    "with_torch*.py",
    "torch_resnet.py",
]

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):  # the controller, after its workers
        for folder in Path(tempfile.gettempdir()).glob("gcl_jax_tests_*"):
            if folder == CACHE or folder.name.endswith(getattr(session.config, "_testrunuid", " ")):
                shutil.rmtree(folder, ignore_errors=True)


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


QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # the environment of processes that compile as `quick_compilation` does


@pytest.fixture(scope="module")
def quick_compilation():
    """All compiles twice as fast and runs slower; for tests that compare such programs with each other only."""
    from gcl_jax.runtime import backend

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "compiler_options", lambda: {"xla_backend_optimization_level": 0})
        jax.config.update("jax_disable_most_optimizations", True)  # of the many small programs, too
        yield
        jax.config.update("jax_disable_most_optimizations", False)


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


@pytest.fixture(scope="session")
def losses_contrastive():
    """Values of the compared methods' and torch's own losses, optimisers, batch norm and calibration."""
    with np.load(_shared("reference/methods/losses_contrastive.npz")) as npz:
        return {name: npz[name] for name in npz.files}


@pytest.fixture(scope="session")
def mislas_disalign():
    """Values of MiSLAS and DisAlign."""
    with np.load(_shared("reference/methods/mislas_disalign.npz")) as npz:
        return {name: npz[name] for name in npz.files}


@pytest.fixture(scope="session")
def oltr_decoupling():
    """Values of OLTR and Decoupling."""
    with np.load(_shared("reference/methods/oltr_decoupling.npz")) as npz:
        return {name: npz[name] for name in npz.files}


@pytest.fixture(scope="session")
def bbn_tde():
    """Values of BBN and De-confound-TDE."""
    with np.load(_shared("reference/methods/bbn_tde.npz")) as npz:
        return {name: npz[name] for name in npz.files}


class Family:
    """The reference values under ``prefix``, which knows those that a test has not read.

    >>> family = Family({"a/x": 1, "a/y": 2, "b": 3}, "a/")
    >>> family["x"], family.unread()
    (1, {'y'})
    """

    def __init__(self, values: dict, prefix: str):
        self.values = {name.removeprefix(prefix): v for name, v in values.items() if name.startswith(prefix)}
        self.read = set()

    def __getitem__(self, name: str):
        self.read.add(name)
        return self.values[name]

    def unread(self) -> set[str]:
        return set(self.values) - self.read
