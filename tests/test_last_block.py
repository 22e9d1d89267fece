"""A frozen trunk under a last block that starts anew (GCL's and Decoupling's recipe for Places-LT)."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from ml_collections import ConfigDict
from tiny import digits, override

from gcl_jax import config as config_lib
from gcl_jax import data, methods
from gcl_jax.config import validation
from gcl_jax.errors import UserError
from gcl_jax.machine import mesh
from gcl_jax.training.stage import Stage

pytestmark = pytest.mark.usefixtures("quick_compilation")

LAST = ("backbone", "layer4_0")


def built(bn_scope="layer4_0", bn="train", name="resnet10", **hyperparameters):
    config = digits()
    config.representation.method = ConfigDict(config_lib.method("gcl", **hyperparameters))
    override(config, {"model.name": name, "representation.bn": bn, "representation.bn_scope": bn_scope})
    validation.validate(config)
    keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
    dataset = data.load(**{key: config.data[key] for key in keys})
    grid = mesh.make_mesh(jax.devices()[:1])
    return Stage(config, "representation", dataset, data.make_loader("device", dataset, grid), grid)


def flat(tree):
    """Copies, since a step donates its state."""
    return {path: np.array(value) for path, value in traverse_util.flatten_dict(jax.device_get(tree)).items()}


def test_the_last_block_starts_anew_and_trains_under_a_trunk_that_stays():
    stage = built(trains="last_block", last_block="layer4_0")
    found = jax.device_get(stage._init_network(jax.random.key(7))) | {"method_state": {}}
    state, constants, _ = stage.start(0, found, "published weights")
    params, stats = flat(constants.frozen), flat(state.batch_stats)
    own = flat(state.params)
    assert all(path[:2] == LAST or path[0] == "head" for path in own)
    assert not any(path[:2] == LAST for path in params)
    published = flat(found["params"])
    for path, value in params.items():
        np.testing.assert_array_equal(value, published[path], err_msg=path)
    kernel = (*LAST, "conv1", "kernel")
    assert np.abs(own[kernel] - published[kernel]).max() > 0.01
    np.testing.assert_array_equal(own["head", "kernel"], published["head", "kernel"])  # no fresh_head was asked for
    for block in stage.feed.blocks([0], 0, 0, [1, 1]):
        state, _ = stage.step(state, constants, block, np.int32(1))
    assert all(np.abs(value - own[path]).max() > 0 for path, value in flat(state.params).items())
    for path, value in flat(state.batch_stats).items():
        assert np.array_equal(value, stats[path]) == (path[:2] != LAST), path


def test_without_a_scope_the_trunks_statistics_move_too():
    stage = built(bn_scope="", trains="last_block", last_block="layer4_0")
    state, constants, _ = stage.start(0, None, "")
    before = flat(state.batch_stats)
    for block in stage.feed.blocks([0], 0, 0, [1]):
        state, _ = stage.step(state, constants, block, np.int32(1))
    assert not any(np.array_equal(value, before[path]) for path, value in flat(state.batch_stats).items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(trains="last_block"), "last_block is ''; it must be the name of a block"),
        (dict(last_block="layer4_0"), "last_block is 'layer4_0'; it must be .* and '' elsewhere"),
        (dict(trains="last_block", last_block="layer4_2"), "method.last_block is 'layer4_2' .did you mean 'layer4_0'"),
        (dict(bn_scope="layer9_0"), "bn_scope is 'layer9_0'"),
        (dict(name="resnet8", bn_scope="layer3_0"), "config.model.name, with representation.bn_scope, is 'resnet8'"),
    ],
)
def test_a_block_that_is_not_there_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        built(**given)


def test_methods_that_freeze_by_themselves_refuse_it():
    with pytest.raises(UserError, match="trains is 'last_block'; choose one of all, classifier"):
        methods.OLTR(trains="last_block", last_block="layer4_0")
    with pytest.raises(UserError, match="trains is 'last_block'"):
        methods.DisAlign(trains="last_block", last_block="layer4_0")
