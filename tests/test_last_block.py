"""A frozen trunk under a last block that starts anew (GCL's and Decoupling's recipe for Places-LT)."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from tiny import digits, override

from gcl_jax import data
from gcl_jax.config import validation
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh
from gcl_jax.training.stage import Stage

pytestmark = pytest.mark.usefixtures("quick_compilation")

LAST = ("backbone", "layer4_0")


LAST_BLOCK = dict(trainable="backbone/layer4_0/|head/", restore="backbone/(?!layer4_0/)|head/kernel")


def built(bn_scope="layer4_0", bn="train", name="resnet10", **stage):
    config = digits()
    config.representation.update(stage)
    override(config, {"model.name": name, "representation.bn": bn, "representation.bn_scope": bn_scope})
    validation.validate(config)
    keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
    dataset = data.load(**{key: config.data[key] for key in keys})
    grid = mesh.make_mesh(jax.devices()[:1])
    return Stage(config, "representation", dataset, data.make_loader("device", dataset, grid), grid)


def flat(tree):
    """Copies, since a step donates its state."""
    return {path: np.array(value) for path, value in traverse_util.flatten_dict(jax.device_get(tree)).items()}


@pytest.mark.slow
def test_the_last_block_starts_anew_and_trains_under_a_trunk_that_stays():
    stage = built(**LAST_BLOCK)
    found = jax.device_get(stage._init_network(jax.random.key(7))) | {"method_state": {}}
    state, inputs, _ = stage.start(0, found, "published weights")
    own, stats = flat(stage.trained(state.params)), flat(state.model_state["batch_stats"])
    params = {path: value for path, value in flat(state.params).items() if path not in own}
    assert all(path[:2] == LAST or path[0] == "head" for path in own)
    assert not any(path[:2] == LAST for path in params)
    published = flat(found["params"])
    for path, value in params.items():
        np.testing.assert_array_equal(value, published[path], err_msg=path)
    kernel = (*LAST, "conv1", "kernel")
    assert np.abs(own[kernel] - published[kernel]).max() > 0.01
    np.testing.assert_array_equal(own["head", "kernel"], published["head", "kernel"])  # restore names it
    for block in stage.input_pipeline.blocks([0], 0, 0, [1, 1]):
        state, _ = stage.step(state, inputs, block, np.int32(1))
    assert all(np.abs(value - own[path]).max() > 0 for path, value in flat(stage.trained(state.params)).items())
    for path, value in flat(state.model_state["batch_stats"]).items():
        assert np.array_equal(value, stats[path]) == (path[:2] != LAST), path


def test_without_a_scope_the_trunks_statistics_move_too():
    stage = built(bn_scope="", **LAST_BLOCK)
    state, inputs, _ = stage.start(0, None, "")
    before = flat(state.model_state["batch_stats"])
    for block in stage.input_pipeline.blocks([0], 0, 0, [1]):
        state, _ = stage.step(state, inputs, block, np.int32(1))
    after = flat(state.model_state["batch_stats"])
    assert not any(np.array_equal(value, before[path]) for path, value in after.items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(trainable="backbone/layer4_2/"), "config.representation: 'backbone/layer4_2/' matches no parameter"),
        (dict(trainable="head/(kernel"), r"config.representation.trainable: 'head/.kernel' is no regular expression"),
        (dict(restore="*"), r"config.representation.restore: '\*' is no regular expression"),
        (dict(bn_scope="layer9_0"), "bn_scope is 'layer9_0'"),
        (dict(name="resnet8", bn_scope="layer3_0"), "config.model.name, with representation.bn_scope, is 'resnet8'"),
    ],
)
def test_a_block_that_is_not_there_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        built(**given)
