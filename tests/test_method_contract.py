"""Every registered method, and a toy one from outside, through the real stage: what moves, stays and compiles."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from ml_collections import ConfigDict
from tiny import digits, override
from toy_method import Toy

from gcl_jax import config as config_lib
from gcl_jax import data, methods, optim
from gcl_jax.checkpoints.checkpoint import Checkpoints, flatten
from gcl_jax.config import validation
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh
from gcl_jax.training import train_state
from gcl_jax.training.stage import Stage

methods.register("toy", Toy)

pytestmark = pytest.mark.usefixtures("quick_compilation")

DATA = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")


@pytest.fixture(scope="module")
def dataset():
    return data.load(**{key: digits().data[key] for key in DATA})


TOY_RULES = {
    "representation.optimizer.lr_mult": ("backbone/layer3=0.1",),
    "representation.optimizer.weight_decay_rules": ("backbone/layer3=0",),
}


def make_stage(dataset, method, *, bn="train", devices=2, name="representation", trainable="", **overrides):
    config = digits()
    own = config_lib.stage(method, config_lib.sampler("instance"))
    config[name].method = ConfigDict(method)
    config[name].update({key: own[key] for key in ("head", "trainable", "restore")})
    if trainable:
        config[name].trainable = trainable
    config.model.experts = methods.METHODS[method["name"]].experts
    override(config, {f"{name}.bn": bn, f"{name}.optimizer.clip_norm": 1.0} | overrides)
    validation.validate(config)
    grid = mesh.make_mesh(jax.devices()[:devices])
    return Stage(config, name, dataset, data.make_loader("device", dataset, grid), grid)


def advance(stage, state, inputs, steps, first=0):
    for block in stage.input_pipeline.blocks([0], 0, first, [1] * steps):
        state, _ = stage.step(state, inputs, block, np.int32(1))
    return state


def found_by(stage):
    """Variables as a stage before would leave them: of the same network."""
    variables = stage._init_network(jax.random.key(7))
    return jax.device_get(variables) | {"method_state": {}}


FAST = {  # what `make test` runs; the whole registry is for `make test-all`
    ("cross_entropy", ".*", "train"),
    ("gcl", ".*", "train"),
    ("oltr", "head/", "frozen"),
    ("nearest_class_mean", "head/", "frozen"),
    ("gcl", "head/", "stats_only"),
    ("toy", "", "train"),
}
CASES = [
    ("toy", "", "train"),
    *(
        (name, trainable, bn)
        for name in methods.METHODS
        for trainable, bn in ((".*", "train"), ("head/", "frozen"), ("head/", "stats_only"))
        # Classifiers that are made have no use for training everything.
        if name != "toy" and (trainable == "head/" or name not in ("tau_norm", "nearest_class_mean"))
    ),
]


@pytest.mark.parametrize(
    ("name", "trainable", "bn"), [pytest.param(*case, marks=[pytest.mark.slow] * (case not in FAST)) for case in CASES]
)
def test_what_moves_what_stays_and_going_on_from_a_checkpoint(dataset, tmp_path, name, trainable, bn):
    """With weight decay, momentum and clipping on: two finite steps, one compilation; a third from what was saved."""
    stage = make_stage(dataset, config_lib.method(name), bn=bn, trainable=trainable, **{"representation.epochs": 3})
    state, inputs, _ = stage.start(0, found_by(stage), "a stage before")
    # In the second of three epochs: curricula begin and end with one of their parts alone.
    state = state.replace(step=state.step + stage.settings.steps_per_epoch)
    before = jax.device_get(train_state.to_save(state))
    state = advance(stage, state, inputs, 2)
    if name == "toy":
        assert np.abs(state.method_state["mean"]).max() > 0  # a state that a checkpoint has to bring back
    after = jax.device_get(train_state.to_save(state))
    assert stage.step._cache_size() == 1
    labels = traverse_util.flatten_dict(stage.labels)
    for path, old in traverse_util.flatten_dict(before["params"]).items():
        new = after["params"]
        for part in path:
            new = new[part]
        assert np.isfinite(new).all(), path
        moved = not np.array_equal(old, new)
        assert moved == (labels[path] != optim.FROZEN), path
    stats = [
        np.array_equal(a, b) for a, b in zip(*(jax.tree.leaves(t["batch_stats"]) for t in (before, after)), strict=True)
    ]
    assert all(stats) if bn == "frozen" else not any(stats)
    momentum = {k: v for k, v in flatten(after["opt_state"]).items() if "trace" in k}
    trainable = sum(leaf.size for leaf in jax.tree.leaves(stage.trained(state.params)))
    assert sum(leaf.size for leaf in momentum.values()) == trainable
    with Checkpoints(tmp_path / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(2, after, {})
    straight = jax.device_get(train_state.to_save(advance(stage, state, inputs, 1, first=2)))
    state, inputs, _ = stage.start(0, found_by(stage), "a stage before")
    with Checkpoints(tmp_path / "checkpoints", keep=1) as checkpoints:
        tree, _ = checkpoints.restore(2, train_state.to_save(state))
    state = stage.from_saved(tree)
    resumed = jax.device_get(train_state.to_save(advance(stage, state, inputs, 1, first=2)))
    jax.tree.map(np.testing.assert_array_equal, resumed, straight)


TWO_DEVICES = ("gcl",)  # with mixup


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in TWO_DEVICES else pytest.mark.slow)
        for name in methods.METHODS
        if name not in ("tau_norm", "nearest_class_mean")
    ],
)
def test_two_devices_equal_one(dataset, name):
    """Each method as it comes (GCL with mixup), float32, three steps at rate 0.01: rounding only."""
    results = []
    for devices in (1, 2):
        method = config_lib.method(name, **({"mixup_alpha": 1.0} if name == "gcl" else {}))
        stage = make_stage(dataset, method, devices=devices, **{"representation.optimizer.learning_rate": 0.01})
        state, inputs, _ = stage.start(0, found_by(stage), "a stage before")
        state = advance(stage, state, inputs, 3)
        results.append(flatten(jax.device_get(train_state.to_save(state))))
    one, two = results
    assert one.keys() == two.keys()
    for path in one:
        np.testing.assert_allclose(two[path], one[path], rtol=1e-3, atol=1e-5, err_msg=path)


def test_groups_carry_their_own_rate_and_decay(dataset):
    """The toy's "last" group learns at a tenth and is not decayed; one step without momentum shows it."""
    stage = make_stage(dataset, config_lib.method("toy"), **{"representation.optimizer.momentum": 0.0} | TOY_RULES)
    assert set(jax.tree.leaves(stage.labels)) == {optim.FROZEN, "group0", "group1"}
    grads = jax.tree.map(np.ones_like, stage.start(0, found_by(stage), "")[0].params)
    params = jax.tree.map(lambda g: 2 * g, grads)
    rate = float(stage.settings.schedule(0))
    updates, _ = stage.optimizer.update(grads, stage.optimizer.init(params), params, learning_rate=rate)
    norm = np.sqrt(sum(g.size for g in jax.tree.leaves(stage.trained(grads))))  # clipped to 1: what is frozen is out
    np.testing.assert_allclose(updates["head"]["kernel"], -rate * (1 / norm + 2e-4 * 2), rtol=1e-5)
    np.testing.assert_allclose(updates["backbone"]["layer3_0"]["conv1"]["kernel"], -0.1 * rate / norm, rtol=1e-5)


def test_the_toys_head_starts_from_class_means(dataset):
    stage = make_stage(dataset, config_lib.method("toy"))
    found = found_by(stage)
    state, _, _ = stage.start(0, found, "a stage before")
    images = (dataset.splits["train"].images.astype(np.float32) / 255 - 0.3) / 0.37
    features = stage.apply(found, images, train=False)[0]["features"]
    labels = dataset.splits["train"].labels
    means = np.stack([features[labels == j].mean(0) for j in range(10)])
    expected = (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    np.testing.assert_allclose(state.params["head"]["kernel"], expected, rtol=1e-4, atol=1e-6)


def test_stage_two_computes_no_backbone_gradient(dataset):
    """From the compiled programs' FLOPs: about a forward pass, where training everything costs about three."""

    def flops(trainable, bn, **overrides):
        method = config_lib.method("gcl", mixup_alpha=1.0)
        stage = make_stage(dataset, method, bn=bn, devices=1, trainable=trainable, **overrides)
        state, _, _ = stage.start(0, None, "")
        step = stage.compile().cost_analysis()["flops"]
        images = np.zeros((32, 8, 8, 1), np.float32)
        variables = stage.variables(state)
        forward = jax.jit(lambda v, x: stage.apply(v, x, train=False)[0]["scores"])
        return step, forward.lower(variables[0], images).compile().cost_analysis()["flops"]

    everything, forward = flops(".*", "train")
    classifier, _ = flops("head/", "frozen")
    assert classifier < 1.15 * forward
    assert everything > 2.5 * forward


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_refuses_an_unknown_hyperparameter(name):
    with pytest.raises(UserError, match=f"method '{name}' has no key 'hed'"):
        config_lib.method(name, hed="linear")


def test_unknown_hyperparameters_are_refused():
    with pytest.raises(
        UserError, match=r"method 'gcl' has no key 'noise_multiplyer' \(did you mean 'noise_multiplier'\?\)"
    ):
        config_lib.method("gcl", noise_multiplyer=1.0)
    with pytest.raises(UserError, match=r"method\.name is 'gdl' .did you mean 'gcl'"):
        config_lib.method("gdl")
    with pytest.raises(UserError, match="registered already"):
        methods.register("gcl", Toy)
