"""Each plugin in this process: it validates, a few steps move what they should, and predictions have their shapes."""

import dataclasses
import json
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from experiments import CONFIGS, get_config
from extending import PLUGINS, advance, make_stage, plugins  # noqa: F401
from flax import traverse_util
from ml_collections import ConfigDict
from tiny import override

from gcl_jax import export, gradients, losses, methods, metrics, models, trained
from gcl_jax.config import migrate, stage_fingerprint
from gcl_jax.config.transforms import build_transforms
from gcl_jax.errors import UserError
from gcl_jax.training import starts, train_state

pytestmark = pytest.mark.usefixtures("quick_compilation", "plugins")

BATCH = 32
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)


def begin(name, **overrides):
    config = override(get_config(name), {key.replace("__", "."): value for key, value in overrides.items()})
    return make_stage(config)


def train(stage, steps, found=None):
    """(state, inputs) after so many steps: finite, of the shapes that were planned, and of one program."""
    state, inputs, _ = stage.start(0, found, "another run")
    state = advance(stage, state, inputs, steps)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), stage.shapes()[0])
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state) == shapes
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(train_state.to_save(state))))
    assert stage.step._cache_size() == 1
    return state, inputs


def found_by(stage):
    """Variables as another run of the same network would leave them."""
    names = tuple(stage.dataset.class_names)
    return jax.device_get(stage._init_network(jax.random.key(7))) | {"class_names": names}


def predicted(stage, state, images=IMAGES):
    variables, method_state = stage.variables(state)
    out, *_ = stage.method.forward(
        None, stage.apply, variables, method_state, {"image": images}, None, stage.info(), train=False
    )
    return stage.method.predict(out, method_state, stage.info())


def flat(tree):
    return traverse_util.flatten_dict(jax.device_get(tree), sep="/")


def moved(before, after):
    before, after = flat(before), flat(after)
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_every_plugin_is_trained_and_on_the_page():
    files = {file.stem for file in PLUGINS.glob("*.py")}
    assert files - {"accuracy_by_count"} == set(CONFIGS)  # which reads a run
    page = (ROOT / "docs" / "extending.md").read_text()
    assert files <= set(re.findall(r"extend/plugins/(\w+)\.py", page))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_keys_of_a_plugin_survive_config_json(name):
    config = get_config(name)
    again = migrate.with_defaults(ConfigDict(json.loads(json.dumps(config.to_dict()))))
    keys = [json.dumps(stage_fingerprint.training_keys(c, "representation")) for c in (config, again)]
    assert keys[0] == keys[1]


def test_adamw_with_its_own_key_and_schedule():
    stage = begin("adamw_cosine")
    steps = 2 * stage.settings.steps_per_epoch
    rates = np.array([float(stage.settings.schedule(step)) for step in range(steps)])
    np.testing.assert_allclose(rates[0], 2e-3 / (0.2 * steps), rtol=1e-6)
    assert rates.argmax() in (3, 4)
    assert len(set(rates)) == steps  # another one at every step
    state, inputs, _ = stage.start(0, None, "")
    params = jax.tree.map(jnp.ones_like, state.params)
    zeros, ones = jax.tree.map(jnp.zeros_like, params), params
    _, opt_state = stage.optimizer.update(ones, stage.optimizer.init(params), params, learning_rate=1.0)
    updates, _ = stage.optimizer.update(zeros, opt_state, params, learning_rate=1.0)
    direction = (0.9 * 0.1 / (1 - 0.9**2)) / np.sqrt(0.9 * 0.1 / (1 - 0.9**2))  # second_moment is 0.9, too
    np.testing.assert_allclose(updates["head"]["bias"], -direction, rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["kernel"], -direction - 0.05, rtol=1e-5)
    assert moved(state.params, advance(stage, jax.tree.map(jnp.copy, state), inputs, 1).params) == set(
        flat(state.params)
    )


def test_a_methods_averages_are_those_of_ema_decay():
    stage = begin("mean_teacher", representation__ema_decay=0.8)
    state, _ = train(stage, 3)
    jax.tree.map(np.testing.assert_array_equal, state.ema, state.method_state["average"])
    stage = begin("mean_teacher")
    raw, _ = train(stage, 3)
    variables = {"params": raw.method_state["average"], **raw.model_state}
    expected = stage.apply(variables, IMAGES, train=False)[0]["scores"]
    np.testing.assert_array_equal(predicted(stage, raw)["logits"], expected)
    assert (
        np.abs(stage.apply({**variables, "params": raw.params}, IMAGES, train=False)[0]["scores"] - expected).max() > 0
    )


def test_adaptive_sam_takes_the_published_step():
    get_config("adaptive_sam")  # which registers it
    rule = gradients.GRADIENT_RULES["adaptive_sam"](radius=0.5, eta=0.1)
    scale, w = np.array([1.0, 4.0]), np.array([2.0, -1.0])

    def run(params, model_state):  # of 1/2 sum(scale * w^2)
        return {"w": scale * params["w"]}, gradients.StepAux(model_state, {}, {})

    found, _ = rule(jax.random.key(0), run, {"w": w}, {}, {}, None, None)
    gradient, size = scale * w, np.abs(w) + 0.1
    nearby = w + 0.5 * size**2 * gradient / np.linalg.norm(size * gradient)
    np.testing.assert_allclose(found["w"], scale * nearby, rtol=1e-6)


@pytest.mark.parametrize("name", ["adaptive_sam", "perturbed_weights"])
def test_a_rule_leaves_what_is_frozen_alone(name):
    stage = begin(name, representation__trainable="head/", representation__bn="frozen")
    found = found_by(stage)
    state, _ = train(stage, 2, found)
    assert moved(found["params"], state.params) == {"head/kernel", "head/bias"}


@pytest.mark.slow
def test_noise_differs_between_steps_and_is_drawn_from_the_seed():
    stage = begin("perturbed_weights")
    first, _ = train(stage, 1)
    again, _ = train(stage, 1)
    assert moved(first.params, again.params) == set()
    plain, _ = train(begin("perturbed_weights", representation__gradient__sigma=0.0), 1)
    assert "head/kernel" in moved(first.params, plain.params)


def test_three_experts():
    stage = begin("three_experts")
    state, inputs, _ = stage.start(0, found_by(stage), "another run")  # whose head has no "kernel"
    before = jax.device_get(state.params)
    state = advance(stage, state, inputs, 1)
    assert moved(before, state.params) == set(flat(before))
    found = predicted(stage, state)
    assert found["experts"].shape == (4, 3, 10)
    np.testing.assert_allclose(found["logits"], found["experts"].mean(1), rtol=1e-5, atol=1e-6)
    assert all(f"expert{i}" in before["backbone"] for i in range(3))
    test = stage.evaluate(stage.variables(state), inputs.info)()["test"]
    assert test.predicted.shape == test.label.shape


def test_dropout_is_on_in_training_alone():
    stage = begin("small_transformer")
    state, _ = train(stage, 2)
    variables, _ = stage.variables(state)

    def scores(seed, train):
        return stage.apply(variables, IMAGES, train=train, key=jax.random.key(seed))[0]["scores"]

    assert np.array_equal(scores(0, True), scores(0, True))
    assert not np.array_equal(scores(0, True), scores(1, True))
    assert np.array_equal(scores(0, False), scores(1, False))
    assert stage.apply.features(variables, IMAGES, train=False)[0].tokens.shape == (4, 16, 16)
    assert predicted(stage, state)["logits"].shape == (4, 10)


def test_adapters_start_at_the_network_that_they_are_for():
    base = begin("small_transformer")
    trained, _ = train(base, 2)
    found = jax.device_get({"params": trained.params, "batch_stats": {}}) | {"class_names": base.dataset.class_names}
    stage = begin("low_rank_adapter")
    state, inputs, _ = stage.start(0, found, "the transformer's run")
    before = jax.device_get(state.params)
    np.testing.assert_allclose(
        predicted(stage, state)["logits"], predicted(base, trained)["logits"], rtol=1e-5, atol=1e-6
    )
    changed = moved(before, advance(stage, state, inputs, 2).params)
    assert changed == {path for path in flat(before) if path.startswith("head/") or path.endswith(("/down", "/up"))}
    assert set(flat(found["params"])) - set(flat(before)) == set()


def test_the_queue_and_its_momentum_encoder():
    stage = begin("momentum_queue")
    before = jax.device_get(stage.start(0, None, "")[0].params)
    state, inputs = train(stage, 1)
    queue = jax.device_get(state.method_state)
    encoder = queue["encoder"]
    jax.tree.map(
        lambda average, old, new: np.testing.assert_allclose(average, 0.9 * old + 0.1 * new, rtol=1e-5, atol=1e-7),
        encoder["params"], before, jax.device_get(state.params),
    )  # fmt: skip
    statistics = moved(encoder["batch_stats"], state.model_state["batch_stats"])
    assert statistics == set(flat(encoder["batch_stats"]))  # of the other view
    assert (queue["labels"] >= 0).tolist() == [True] * BATCH + [False] * (128 - BATCH)
    np.testing.assert_allclose(np.linalg.norm(queue["keys"], axis=1), 1, rtol=1e-5)
    later = jax.device_get(advance(stage, state, inputs, 1).method_state)
    assert stage.step._cache_size() == 1
    np.testing.assert_array_equal(later["keys"][BATCH : 2 * BATCH], queue["keys"][:BATCH])
    np.testing.assert_array_equal(later["labels"][BATCH : 2 * BATCH], queue["labels"][:BATCH])


def test_a_projection_at_the_last_step_of_an_epoch():
    stage = begin("max_norm")
    state, inputs, _ = stage.start(0, None, "")
    largest = []
    for _ in range(stage.settings.steps_per_epoch + 1):
        state = advance(stage, state, inputs, 1)
        largest.append(float(jnp.linalg.norm(state.params["head"]["kernel"], axis=0).max()))
    assert min(largest[:-2]) > 0.6
    assert largest[-2] <= 0.5 + 1e-6
    assert largest[-1] != largest[-2]


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_state_that_switches_with_the_epoch(micro_batches):
    stage = begin("two_estimators", representation__micro_batches=micro_batches)
    steps = stage.settings.steps_per_epoch
    state, inputs = train(stage, steps)
    counts = [float(state.method_state[name]["count"].sum()) for name in ("old", "new")]
    assert counts == [0, steps * BATCH]
    taken = jax.device_get(state.method_state["new"])
    state = advance(stage, state, inputs, 1)
    jax.tree.map(np.testing.assert_array_equal, state.method_state["old"], taken)
    assert float(state.method_state["new"]["count"].sum()) == BATCH


@dataclasses.dataclass(frozen=True)
class AdjustedAtTest(methods.Method):
    """A method whose predictions take a constant of the class counts."""

    def constants(self, counts):
        return {"log_counts": np.log(counts)}

    def loss(self, key, out, batch, t, info):
        return methods.LossOut(losses.cross_entropy(out["scores"], batch["label"]))

    def predict(self, out, method_state, info):
        return {"logits": out["scores"] - info.constants["log_counts"]}


def as_trained(stage):
    """An untrained network as a run's folder would give it."""
    state, _, _ = stage.start(0, None, "")
    dataset = stage.dataset
    return trained.Trained(
        stage.config, "representation", stage.variables(state), dataset.class_names, dataset.counts,
        stage.image_shape, 0,
    )  # fmt: skip


def test_constants_reach_predictions_from_a_run():
    methods.register("adjusted_at_test", AdjustedAtTest)
    config = get_config("max_norm")
    config.representation.method = ConfigDict({"name": "adjusted_at_test"})
    stage = make_stage(config)
    state, _, _ = stage.start(0, None, "")
    dataset, network = stage.dataset, as_trained(stage)
    images = dataset.splits["test"].images[:4]
    normalized = (images / np.float32(255) - 0.3) / np.float32(0.37)
    expected = jax.nn.softmax(predicted(stage, state, normalized)["logits"])
    np.testing.assert_allclose(network.probabilities()(network.variables, images), expected, rtol=1e-4, atol=1e-6)


class ScoresOnly(nn.Module):
    """A head of tokens that returns no features."""

    num_classes: int
    takes = "tokens"

    @nn.compact
    def __call__(self, tokens, *, train=False):
        return nn.Dense(self.num_classes, name="classifier")(tokens.mean(1))


def test_a_network_without_pooled_features():
    models.HEADS.register("scores_only", ScoresOnly)
    stage = begin("small_transformer", representation__head="scores_only")
    train(stage, 1)
    with pytest.raises(UserError, match=r"gives no pooled features.* let the backbone fill"):
        stage.features(stage.variables(stage.start(0, None, "")[0])[0], "test")


def test_ops_and_boxes_of_a_plugin():
    stage = begin("augment_and_paste")
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), np.uint8)
    transforms = build_transforms(stage.config, "representation", stage.method)
    changed = transforms.train("main", jax.random.key(0), images, None)
    plain = transforms.normalize(jnp.asarray(images))
    same = np.mean([np.array_equal(a, b) for a, b in zip(changed, plain, strict=True)])
    assert 0 < same < 0.5  # of an image both ops may be the one that changes nothing
    batch = {"image": plain, "label": np.arange(64)}
    mixed = transforms.mix(jax.random.key(1), {"main": batch}, None)["main"]
    (first, seen), (second, other) = mixed["targets"]
    np.testing.assert_allclose(seen + other, 1, rtol=1e-6)
    taken = np.mean(np.asarray(mixed["image"]) == np.asarray(plain), axis=(1, 2, 3))
    assert np.all(taken >= seen - 1e-6)
    assert len(np.unique(np.round(seen, 3))) > 5  # another box for every image
    np.testing.assert_array_equal(first, batch["label"])
    pasted = np.asarray(plain)[np.asarray(second)]
    assert np.all((np.asarray(mixed["image"]) == np.asarray(plain)) | (np.asarray(mixed["image"]) == pasted))
    train(stage, 2)


def test_two_streams_are_mixed():
    stage = begin("rare_mixup")
    mix = build_transforms(stage.config, "representation", stage.method).mix
    t = methods.StepInfo.at(jnp.int32(9), epochs=2, steps_per_epoch=9, learning_rate=0.1)
    batches = {
        "main": {"image": jnp.ones((8, 2, 2, 1)), "label": jnp.zeros(8, jnp.int32)},
        "rare": {"image": jnp.zeros((8, 2, 2, 1)), "label": jnp.ones(8, jnp.int32)},
    }
    mixed = mix(jax.random.key(0), batches, t)
    assert set(mixed) == {"main"}
    lam = mixed["main"]["image"][:, 0, 0, 0]
    (_, kept), (rare, weight) = mixed["main"]["targets"]
    np.testing.assert_allclose(weight, 0.5 * (1 - lam), rtol=1e-6)
    np.testing.assert_allclose(kept + weight, 1, rtol=1e-6)
    assert rare.tolist() == [1] * 8
    assert set(next(stage.input_pipeline.blocks([0], 0, 0, [1]))) == {"main", "rare"}
    train(stage, 2)


def test_a_metric_of_what_is_wrong():
    get_config("head_bias")
    logits = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
    found = metrics.METRICS["head_bias"](logits, np.array([1, 0, 0]), np.array([100, 10, 1]))
    assert found == {"toward_head": 50.0, "rank": 1.5}


def test_a_data_source_from_outside():
    stage = begin("blobs")
    assert stage.dataset.name == "blobs"
    assert stage.dataset.class_names[0] == "blob 0"
    assert stage.dataset.counts.tolist() == sorted(stage.dataset.counts.tolist(), reverse=True)
    state, _ = train(stage, 2)
    assert predicted(stage, state)["logits"].shape == (4, 6)


@dataclasses.dataclass(frozen=True)
class CountsImages(AdjustedAtTest):
    """A method whose predictions take the number of images for an integer."""

    def predict(self, out, method_state, info):
        return {"logits": out["scores"] / len(out["scores"])}


def test_what_cannot_be_exported_is_named():
    methods.register("counts_images", CountsImages)
    config = get_config("max_norm")
    config.representation.method = ConfigDict({"name": "counts_images"})
    with pytest.raises(UserError, match=r"test_plugins_quick\.py:\d+ takes the number of images for an integer.*shape"):
        export.serialized(as_trained(make_stage(config)))


def test_what_depends_on_the_size_of_images_can_be_restored(tmp_path):
    """The positions of a transformer: before the data are read nobody knows how many there are."""
    stage = begin("small_transformer")
    found = found_by(stage)
    config = get_config("small_transformer")
    starts._require_backbone(config, "representation", found, "a run")
    found["params"]["backbone"]["block0"]["fc1"]["kernel"] = np.zeros((16, 5), np.float32)
    with pytest.raises(UserError, match=r"fc1/kernel has shape \(16, 5\), the model needs \(16, 32\)"):
        starts._require_backbone(config, "representation", found, "a run")
    found = found_by(stage)
    found["params"]["backbone"]["positions"] = np.zeros((4, 16), np.float32)
    starts._require_backbone(config, "representation", found, "a run")
    with pytest.raises(UserError, match=r"positions has shape \(4, 16\), the model needs \(16, 16\)"):
        stage.check_start(found, "a run")
