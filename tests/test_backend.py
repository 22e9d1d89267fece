"""What is chosen by backend, and the memory that a run needs, has and used."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from conftest import QUICK, ROOT
from tiny import digits, override, override_flags

from gcl_jax import models
from gcl_jax.errors import UserError
from gcl_jax.runtime import backend, compilation_cache, memory
from gcl_jax.training import experiment


def test_one_step_a_dispatch_on_cpu(monkeypatch):
    assert backend.steps_per_call(0, max_steps=50) == 1
    assert backend.steps_per_call(8, max_steps=50) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert backend.steps_per_call(0, max_steps=50) == 50
    assert backend.steps_per_call(8, max_steps=50) == 8
    assert backend.steps_per_call(100, max_steps=50) == 50
    assert backend.steps_per_call(0, max_steps=500) == backend.LOOP_ROWS
    assert backend.steps_per_call(0, max_steps=50, resident=False) == 1
    assert backend.compiler_options() == {}
    assert backend.eval_batch_size(0) == 1024


def test_barriers_outlive_fusion_on_cpu():
    """The option exists, and does what it is for: the compiled program still has the barrier."""

    def f(x):
        return jax.lax.optimization_barrier(x + 1) * 2

    compiled = jax.jit(f, compiler_options=backend.compiler_options()).lower(jnp.ones(3)).compile()
    assert "opt-barrier" in compiled.as_text()
    assert compiled(jnp.ones(3)).tolist() == [4, 4, 4]


@pytest.mark.parametrize(("platforms", "kept"), [("cpu", "True"), ("cuda,cpu", "False")])
def test_freed_memory_is_kept_on_cpu_only(platforms, kept):
    """In a process of its own, which it changes; elsewhere than on Linux with glibc nothing is to be had."""
    if sys.platform != "linux":
        pytest.skip("glibc's malloc is Linux's")
    plugin = "backend._has_accelerator_plugin = lambda: True; "
    for installed in ("", plugin):  # which JAX_PLATFORMS overrules
        code = f"from gcl_jax.runtime import backend; {installed}print(backend.keep_freed_memory())"
        done = subprocess.run(
            [sys.executable, "-c", code], env={"JAX_PLATFORMS": platforms}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == kept


def test_cache_folder_is_the_users_choice_or_one_for_this_cpu(monkeypatch, tmp_path):
    old = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    try:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
        assert compilation_cache.use() == tmp_path / "mine"
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        found = compilation_cache.use()
        assert found.is_dir()
        assert found.parent == tmp_path / "gcl_jax"
        jax.config.update("jax_compilation_cache_dir", None)
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert compilation_cache.use() is None
    finally:
        jax.config.update("jax_compilation_cache_dir", old[0])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", old[1])


@pytest.mark.slow
def test_the_second_run_compiles_from_the_cache_and_no_run_imports_tensorflow(tmp_path):
    """A cache that was empty before the first run has nothing to add in the second."""
    code = """
import runpy, sys
try:
    runpy.run_module("gcl_jax.main", run_name="__main__")
finally:
    heavy = ("gcl_jax.training.trainer", "tensorflow", "tensorflow_datasets")
    print("imported:", [m for m in heavy if m in sys.modules])
"""
    flags = override_flags(stages="('representation',)", representation__epochs=1)
    entries = []
    for name in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-c", code, "--config=configs/digits_lt.py:gcl", *flags,
             f"--workdir={tmp_path / name}"],
            cwd=ROOT, env=os.environ | QUICK | {
                "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            },
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        assert "imported: ['gcl_jax.training.trainer']" in done.stdout
        large = [p.name for step in ("train", "eval") for p in (tmp_path / "cache").glob(f"*{step}_step*-cache")]
        entries.append(sorted(large))
    assert len(entries[0]) == 2
    assert entries[1] == entries[0]


def test_needed_memory_counts_arguments_results_and_donation():
    x = jnp.ones((256, 1024))  # 1 MiB
    kept = jax.jit(lambda x: x + 1).lower(x).compile()
    donated = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    assert memory.needed(kept) >= 2 * 2**20
    assert memory.needed(donated) < 1.5 * 2**20


def test_peaks_and_what_there_is():
    assert memory.peaks()["host_peak_bytes"] > 50 * 2**20
    assert memory.available() * jax.local_device_count() > 2**30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "cure"), [(1, "choose a smaller batch_size"), (2, "choose a smaller batch_size or seeds_at_once")]
)
def test_too_little_memory_is_refused_before_anything_is_trained(monkeypatch, tmp_path, seeds, cure):
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    config = override(digits(), {"num_seeds": seeds, "seeds_at_once": seeds})
    pattern = rf"^config\.representation needs \d\.\d MiB a device, which has 1\.0 MiB: {cure}$"
    with pytest.raises(UserError, match=pattern):
        experiment.run(config, tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))
    assert not list(tmp_path.rglob("DONE.json"))


@pytest.mark.slow
def test_a_later_stage_that_does_not_fit_is_refused_before_the_first_has_trained(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "available", lambda: 3 * 2**19)
    config = override(digits(), {"representation.batch_size": 8, "classifier.batch_size": 256})
    with pytest.raises(UserError, match=r"^config\.classifier needs \d\.\d MiB a device, which has 1\.5 MiB: "):
        experiment.run(config, tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))


@pytest.mark.parametrize("head", ["linear", "cosine", "linear_disalign", "half_cosine", "nearest_mean_l2n"])
def test_heads_multiply_in_float32_whatever_the_precision(head):
    network = models.build("resnet8", head, 10, jnp.bfloat16)
    images = jnp.zeros((2, 16, 16, 1))  # of 8 x 8 the last convolutions would be products, too
    variables = jax.eval_shape(lambda key: network.init(key, images, train=False), jax.random.key(0))
    with jax.default_matmul_precision("default"):
        lowered = jax.jit(lambda v, x: network.apply(v, x, train=False)).lower(variables, images).as_text()
    dots = [line for line in lowered.splitlines() if "stablehlo.dot_general" in line]
    assert dots
    assert all("HIGHEST" in line and "bf16" not in line for line in dots)
