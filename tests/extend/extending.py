"""What the tests of plugins share: registries that are afterwards as they were, and stages without a command."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from gcl_jax import data, gradients, methods, metrics, models, optim, transforms
from gcl_jax.config import validation
from gcl_jax.runtime import mesh
from gcl_jax.training import stage as stage_lib

PLUGINS = Path(__file__).parent / "plugins"
REGISTRIES = (
    methods.METHODS, models.BACKBONES, models.HEADS, gradients.GRADIENT_RULES, optim.OPTIMIZERS, optim.SCHEDULES,
    transforms.TRANSFORMS, transforms.MIXES, metrics.METRICS, data.SOURCES,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def plugins():
    """The plugins on the path; afterwards no other test of this process finds what they registered."""
    from gcl_jax.registry import OptionRegistry

    before = [dict(registry) for registry in REGISTRIES]
    options = [registry for registry in REGISTRIES if isinstance(registry, OptionRegistry)]
    kept = [(set(registry.options), registry) for registry in options]
    sys.path.insert(0, str(PLUGINS))
    yield
    sys.path.remove(str(PLUGINS))
    for registry, entries in zip(REGISTRIES, before, strict=True):
        for name in set(registry) - set(entries):
            del registry[name]
    for keys, registry in kept:
        for key in set(registry.options) - keys:
            del registry.options[key]
            registry.ranges.pop(key, None)
            for block, ranges, prefix in registry._bound:
                block.pop(key, None)
                ranges.pop(f"{prefix}{key}", None)
    for file in PLUGINS.glob("*.py"):
        sys.modules.pop(file.stem, None)


def make_stage(config: ConfigDict, *, devices: int = 1) -> stage_lib.Stage:
    """The only stage of ``config``, on so many devices."""
    validation.validate(config)
    keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
    dataset = data.load(**{key: config.data[key] for key in keys})
    grid = mesh.make_mesh(jax.devices()[:devices])
    loader = data.make_loader("device", dataset, grid)
    return stage_lib.Stage(config, config.stages[0], dataset, loader, grid)


def advance(stage, state, inputs, steps: int):
    """The state ``steps`` updates further."""
    for _ in range(steps):
        epoch, place = divmod(int(state.step), stage.settings.steps_per_epoch)
        block = next(stage.input_pipeline.blocks([0], epoch, place, [1]))
        state, _ = stage.step(state, inputs, block, np.int32(1))
    return state
