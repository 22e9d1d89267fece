"""Micro-batches: the mean of their gradients makes the update that the whole batch would make."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny import digits, override

from gcl_jax import config as config_lib
from gcl_jax import data
from gcl_jax.checkpoints.checkpoint import flatten
from gcl_jax.config import validation
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh
from gcl_jax.training import batches, train_state
from gcl_jax.training.stage import Stage

pytestmark = pytest.mark.usefixtures("quick_compilation")


def built(micro_batches, *, devices=1, bn="frozen", method="cross_entropy", **overrides):
    config = digits()
    config.representation.method = ConfigDict(config_lib.method(method))
    override(
        config,
        {
            "data.crop_padding": 0,
            "representation.bn": bn,
            "representation.micro_batches": micro_batches,
            "representation.optimizer.learning_rate": 0.01,
            "representation.optimizer.warmup_percent": 0.0,
        }
        | overrides,
    )
    validation.validate(config)
    keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
    dataset = data.load(**{key: config.data[key] for key in keys})
    grid = mesh.make_mesh(jax.devices()[:devices])
    stage = Stage(config, "representation", dataset, data.make_loader("device", dataset, grid), grid)
    batches.check_divides(config, "representation", grid, False)
    return stage


def after(stage, steps=3):
    found = jax.device_get(stage._init_network(jax.random.key(7))) | {"method_state": {}}
    state, constants, _ = stage.start(0, found, "")
    for block in stage.input_pipeline.blocks([0], 0, 0, [1] * steps):
        state, metric_sums = stage.step(state, constants, block, np.int32(1))
    return flatten(jax.device_get(train_state.to_save(state))), jax.device_get(metric_sums)


def close(ours, theirs, rtol=1e-4):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=rtol, atol=1e-5, err_msg=name)


def test_with_frozen_batch_norm_parts_are_the_whole():
    whole, whole_tally = after(built(1))
    parts, parts_tally = after(built(4))
    close(parts, whole)
    close(flatten(parts_tally), flatten(whole_tally))


@pytest.mark.slow
def test_parts_of_all_devices_are_those_of_one():
    """Each device keeps its own examples, and batch norm sees the same parts."""
    close(after(built(2, devices=2, bn="train"))[0], after(built(2, bn="train"))[0], rtol=1e-3)


def test_batch_norm_and_the_methods_state_see_the_parts():
    """Statistics of a part are not the batch's; TDE's moving feature moves once a part."""
    whole, parts = (after(built(n, bn="train"), steps=1)[0] for n in (1, 4))
    name = "batch_stats/backbone/bn1/mean"
    assert np.abs(whole[name] - parts[name]).max() > 1e-3
    # Four moves by a tenth towards the means of parts, whose mean is the whole's: equal but for their order.
    ours, theirs = parts[name] / (1 - 0.9**4), whole[name] / 0.1
    assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs)
    once, often = (
        after(built(n, method="tde", **{"representation.head": "two_part_normalized"}), steps=1)[0][
            "method_state/moving_feature"
        ]
        for n in (1, 2)
    )
    ratio = np.linalg.norm(often) / np.linalg.norm(once)
    assert 1.7 < ratio < 2.1  # 0.9 e1 + e2, where e is the mean of both


def test_wrong_sizes_are_refused():
    with pytest.raises(UserError, match=r"micro_batches is 5; it must divide config.representation.batch_size, 32"):
        built(5)
    with pytest.raises(UserError, match=r"batch_size / micro_batches is 1, which does not divide over 2 devices"):
        built(32, devices=2)
