"""Gradient rules, moving averages and hooks after the update, in the real step; what is frozen keeps every bit."""

import dataclasses
import json
import shutil
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath
from flax import traverse_util
from ml_collections import ConfigDict
from tiny import digits, override

from gcl_jax import config as config_lib
from gcl_jax import data, methods, optim
from gcl_jax.checkpoints import checkpoint
from gcl_jax.config import validation
from gcl_jax.errors import UserError
from gcl_jax.gradients import GRADIENT_RULES, SAM, GradientRule, StepAux
from gcl_jax.runtime import mesh
from gcl_jax.training import experiment
from gcl_jax.training.stage import Stage
from gcl_jax.training.train_state import to_save

pytestmark = pytest.mark.usefixtures("quick_compilation")


def make_stage(method=None, **overrides):
    config = digits()
    if method:
        config.representation.method = ConfigDict(method)
    config = override(config, {"data.flip": False, "data.crop_padding": 0} | overrides)
    validation.validate(config)
    keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
    dataset = data.load(**{key: config.data[key] for key in keys})
    grid = mesh.make_mesh(jax.devices()[:1])
    return Stage(config, "representation", dataset, data.make_loader("device", dataset, grid), grid)


def advance(stage, steps, first=0, state=None):
    found = jax.device_get(stage._init_network(jax.random.key(7))) | {"method_state": {}}
    start, inputs, _ = stage.start(0, found, "a stage before")
    state = start if state is None else state
    states = [jax.device_get(to_save(state))]
    for block in stage.input_pipeline.blocks([0], 0, first, [1] * steps):
        state, _ = stage.step(state, inputs, block, np.int32(1))
        states.append(jax.device_get(to_save(state)))
    return states, state


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def quadratic(params, model_state, example_weights=None):
    """run() of the loss sum(w^4) / 4, whose gradient is w^3; what is called "frozen" has none."""
    grads = jax.tree.map(lambda w: w**3, params) | {"frozen": jnp.zeros_like(params["frozen"])}
    return grads, StepAux({"seen": model_state["seen"] + 1}, {"at": params["w"]}, {"loss": params["w"].sum()})


@pytest.mark.parametrize(("bn_passes", "seen"), [("both", 2), ("first", 1)])
def test_sam_is_the_gradient_near_by(bn_passes, seen):
    params = {"w": jnp.array([1.0, -2.0]), "frozen": jnp.array([5.0])}
    rule = SAM(rho=0.1, bn_passes=bn_passes)
    grads, aux = rule(None, quadratic, params, {"seen": 0}, {}, None, None)
    g = np.array([1.0, -8.0])
    nearby = np.array([1.0, -2.0]) + 0.1 * g / np.linalg.norm(g)
    np.testing.assert_allclose(grads["w"], nearby**3, rtol=1e-6)
    assert grads["frozen"].tolist() == [0]
    assert aux.model_state == {"seen": seen}
    np.testing.assert_array_equal(aux.method_state["at"], params["w"])  # the first pass's


def test_sam_agrees_with_optax():
    """optax.contrib.sam on a smooth function, opaque mode: one step."""

    def gradient(w, _=None):
        return jax.grad(lambda w: jnp.sum(jnp.cos(w) * w**2))(w)

    w = jnp.array([0.3, -1.2, 2.0])
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(0.05))
    theirs = optax.contrib.sam(optax.sgd(1.0), adversary, sync_period=2, opaque_mode=True)
    updates, _ = theirs.update(gradient(w), theirs.init(w), w, grad_fn=gradient)

    def run(params, model_state, example_weights=None):
        return {"w": gradient(params["w"])}, StepAux(model_state, {}, {})

    grads, _ = SAM(rho=0.05)(None, run, {"w": w}, {}, {}, None, None)
    np.testing.assert_allclose(-updates, grads["w"], rtol=1e-5)


EVERYTHING = {
    "representation.trainable": "head/",
    "representation.bn": "frozen",
    "representation.optimizer.momentum": 0.9,
    "representation.optimizer.weight_decay": 0.1,
    "representation.optimizer.clip_norm": 1e-3,
    "representation.ema_decay": 0.9,
    "representation.gradient.name": "sam",
    "representation.gradient.rho": 0.5,
}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb"])
def test_what_is_frozen_keeps_every_bit(optimizer):
    """With momentum, decay, clipping, averages, SAM and a method that meddles after the update."""
    stage = make_stage(config_lib.method("meddling"), **EVERYTHING | {"representation.optimizer.name": optimizer})
    states, _ = advance(stage, 3)
    for part in ("params", "batch_stats"):
        before, after = (flat(state[part]) for state in (states[0], states[-1]))
        for path, value in before.items():
            same = value.tobytes() == after[path].tobytes()
            assert same == (part == "batch_stats" or path.startswith("backbone/")), path
    assert set(flat(states[-1]["ema"])) == {"head/kernel"}


def test_sam_and_averages_cost_no_backbone_gradient():
    """FLOPs: SAM's two passes are two forward passes and two gradients of the classifier."""

    def flops(**overrides):
        stage = make_stage(**overrides)
        return stage.compile().cost_analysis()["flops"], stage

    with_all, stage = flops(**EVERYTHING)
    plain, _ = flops(**{k: v for k, v in EVERYTHING.items() if "ema" not in k and "gradient" not in k})
    variables, _ = stage.variables(advance(stage, 0)[1])
    images = np.zeros((stage.block.batch_size, 8, 8, 1), np.float32)
    forward = jax.jit(lambda v, x: stage.apply(v, x, train=False)[0]["scores"]).lower(variables, images)
    forward = forward.compile().cost_analysis()["flops"]
    assert plain < 1.15 * forward
    assert with_all < 2.3 * forward


def test_sam_refuses_micro_batches():
    with pytest.raises(UserError, match=r"micro_batches is 2, but the gradient rule sam takes a whole batch"):
        make_stage(**{"representation.gradient.name": "sam", "representation.micro_batches": 2})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gradient.name", "sma", r"gradient\.name is 'sma' .did you mean 'sam'"),
        ("gradient.rho", 0.1, r"gradient\.rho is 0\.1, but plain has no rho: leave it out"),
        ("ema_decay", 1.0, r"representation\.ema_decay is 1\.0; it must lie in \[0, 0\.9999999\]"),
    ],
)
def test_wrong_keys_are_named(key, value, message):
    with pytest.raises(UserError, match=message):
        make_stage(**{f"representation.{key}": value})


def test_averages_are_those_of_the_parameters():
    """ema_k = decay ema_(k-1) + (1 - decay) params_k from the start on, in float64; evaluation takes them."""
    stage = make_stage(**{"representation.ema_decay": 0.75})
    states, state = advance(stage, 4)
    expected = {path: value.astype(np.float64) for path, value in flat(states[0]["params"]).items()}
    for saved in states[1:]:
        params = flat(saved["params"])
        expected = {path: 0.75 * value + 0.25 * params[path] for path, value in expected.items()}
    for path, value in flat(states[-1]["ema"]).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-5, atol=1e-7)
    variables, _ = stage.variables(state)
    jax.tree.map(np.testing.assert_array_equal, variables["params"], states[-1]["ema"])
    plain, _ = advance(make_stage(), 4)
    jax.tree.map(np.testing.assert_array_equal, states[-1]["params"], plain[-1]["params"])  # it changes no training


@dataclasses.dataclass(frozen=True)
class Meddling(methods.GCL):
    """GCL whose projection after the update tries to change all parameters, once an epoch."""

    requires_epochs: ClassVar[bool] = False

    def init_state(self, key, variables, info):
        return {"epochs": jnp.int32(0), "steps": jnp.int32(0)}

    def after_update(self, params, method_state, t, info):
        changed = jax.tree.map(lambda w: jnp.where(t.epoch_end, w / 2, w), params)
        state = {"epochs": method_state["epochs"] + t.epoch_end, "steps": method_state["steps"] + 1}
        return changed, state


methods.register("meddling", Meddling)


def test_after_update_sees_the_end_of_an_epoch():
    """Parameters are halved after the last step of an epoch, and after no other; the method's state goes along."""
    stage = make_stage(config_lib.method("meddling"))
    per_epoch = stage.settings.steps_per_epoch
    (_, *states), _ = advance(stage, per_epoch)
    (_, *plain), _ = advance(make_stage(config_lib.method("gcl")), per_epoch)
    for halved, whole in zip(states[:-1], plain[:-1], strict=True):
        jax.tree.map(np.testing.assert_array_equal, halved["params"], whole["params"])
    jax.tree.map(lambda h, w: np.testing.assert_array_equal(2 * h, w), states[-1]["params"], plain[-1]["params"])
    assert states[-1]["method_state"] == {"epochs": 1, "steps": per_epoch}


def test_time_knows_the_ends_of_an_epoch():
    at = [
        methods.StepInfo.at(jnp.int32(s), epochs=2, steps_per_epoch=3, learning_rate=jnp.float32(0)) for s in range(6)
    ]
    assert [int(t.epoch) for t in at] == [0, 0, 0, 1, 1, 1]
    assert [bool(t.epoch_start) for t in at] == [True, False, False] * 2
    assert [bool(t.epoch_end) for t in at] == [False, False, True] * 2


def test_keep_frozen_takes_only_what_trains():
    labels = {"a": "group0", "b": optim.FROZEN}
    assert optim.keep_frozen({"a": 1, "b": 2}, {"a": 3, "b": 4}, labels) == {"a": 1, "b": 4}


def test_a_run_with_averages_is_evaluated_by_them(tmp_path):
    """Saved, resumed after a stop, evaluated and started from; the parameters themselves are told beside."""
    config = digits(representation__ema_decay=0.9, representation__epochs=3, stages=("representation",))
    result = experiment.run(config, str(tmp_path / "run"))
    stage = result["stages"]["representation"]
    assert set(stage["final_raw"]) == set(stage["final"]) == {"test"}
    assert stage["final_raw"]["test"]["nll"] != stage["final"]["test"]["nll"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    raw = [line["raw_accuracy"] for line in lines if line["kind"] == "test"]
    assert raw[-1] == stage["final_raw"]["test"]["accuracy"]
    evaluated = experiment.run(config, str(tmp_path / "run"), eval_only=True)
    assert evaluated["final"]["test"]["nll"] == stage["final"]["test"]["nll"]
    checkpoints = epath.Path(tmp_path / "run" / "representation" / "checkpoints")
    arrays, _, step = checkpoint.read(checkpoints)
    variables, _, _ = checkpoint.read_variables(checkpoints)
    for path, value in flat(variables["params"]).items():
        np.testing.assert_array_equal(value, arrays[f"ema/{path}"])
        assert not np.array_equal(value, arrays[f"params/{path}"])
    shutil.rmtree(checkpoints / str(step))
    for file in ("result.json", "representation/DONE.json"):
        (tmp_path / "run" / file).unlink()
    again = experiment.run(config, str(tmp_path / "run"))
    assert again["stages"]["representation"]["final"] == stage["final"]
    assert again["stages"]["representation"]["final_raw"] == stage["final_raw"]


@dataclasses.dataclass(frozen=True)
class WithoutBackbone(GradientRule):
    """The gradient where all of the backbone is 0."""

    def __call__(self, key, run, params, model_state, batch, t, info):
        return run({**params, "backbone": jax.tree.map(jnp.zeros_like, params["backbone"])}, model_state)


def test_what_is_frozen_is_itself_wherever_a_rule_looks():
    GRADIENT_RULES.register("without_backbone", WithoutBackbone)
    frozen = {"representation.trainable": "head/", "representation.bn": "frozen"}
    (_, plain), _ = advance(make_stage(**frozen), 1)
    (_, elsewhere), _ = advance(make_stage(**frozen, **{"representation.gradient.name": "without_backbone"}), 1)
    jax.tree.map(np.testing.assert_array_equal, elsewhere, plain)
