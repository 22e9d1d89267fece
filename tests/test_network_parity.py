"""ResNet-32 with the cosine head against the authors' modules, forward and over five SGD steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, relative_error

from gcl_jax import longtail, losses, models, optim
from gcl_jax.models import torch_names
from gcl_jax.training.network_apply import NetworkApply


@pytest.fixture(scope="module")
def network():
    return models.build("resnet32", "cosine", 10)


def _initial(official):
    prefix = "net/init/"
    return torch_names.from_torch({k[len(prefix) :]: v for k, v in official.items() if k.startswith(prefix)})


@pytest.fixture(scope="module")
def variables(official):
    return _initial(official)


def _forward(network, variables, images_nchw):
    return network.apply(variables, jnp.asarray(images_nchw.transpose(0, 2, 3, 1)), train=False)


def test_name_map_is_complete(network, variables):
    images = jnp.zeros((1, 32, 32, 3))
    fresh = jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))
    assert jax.tree.map(jnp.shape, dict(fresh)) == jax.tree.map(jnp.shape, variables)


def test_forward(network, variables, official):
    out = _forward(network, variables, official["net/images_nchw"][0])
    assert relative_error(out["features"], official["net/eval_feature"]) <= 1e-4
    assert relative_error(out["scores"], official["net/eval_cosine"]) <= 1e-4


@pytest.fixture(scope="module")
def after_five_steps(official):
    """The five reference steps in float64: (losses, eval feature, eval cosine, variables)."""
    with jax.enable_x64(True):
        network = models.build("resnet32", "cosine", 10, jnp.float64)
        start = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), _initial(official))
        cloud = jnp.asarray(longtail.cloud_sizes(official["counts/cifar10/100"]))
        params, batch_stats = start["params"], start["batch_stats"]
        labels_tree = jax.tree.map(lambda _: "all", params)
        optimizer = optim.make_optimizer(optim.SGD(), labels_tree, {"all": optim.ParamGroup()}, weight_decay=2e-4)
        apply = NetworkApply(network, "train")

        @jax.jit
        def step(params, batch_stats, opt_state, images, labels, noise):
            def objective(params):
                out, model_state = apply({"params": params, "batch_stats": batch_stats}, images, train=True)
                per_example = losses.gcl(out["scores"], labels, noise, cloud, scale=30.0, noise_multiplier=0.5)
                return losses.weighted_mean(per_example), model_state["batch_stats"]

            (loss, batch_stats), grads = jax.value_and_grad(objective, has_aux=True)(params)
            updates, opt_state = optimizer.update(grads, opt_state, params, learning_rate=0.1)
            return jax.tree.map(jnp.add, params, updates), batch_stats, opt_state, loss

        opt_state = optimizer.init(params)
        found = []
        for i in range(5):
            images = jnp.asarray(official["net/images_nchw"][i].transpose(0, 2, 3, 1), jnp.float64)
            labels, noise = jnp.asarray(official["net/labels"][i]), jnp.asarray(official["net/noise"][i], jnp.float64)
            params, batch_stats, opt_state, loss = step(params, batch_stats, opt_state, images, labels, noise)
            found.append(float(loss))
        images = jnp.asarray(official["net/images_nchw"][0].transpose(0, 2, 3, 1), jnp.float64)
        out = network.apply({"params": params, "batch_stats": batch_stats}, images, train=False)
        result = {"losses": found, "feature": out["features"], "cosine": out["scores"]}
        backbone, stats = params["backbone"], batch_stats["backbone"]
        result |= {
            "after5/conv1.weight": backbone["conv1"]["kernel"].transpose(3, 2, 0, 1),
            "after5/linear.weight": params["head"]["kernel"],
            "after5/bn1.running_mean": stats["bn1"]["mean"],
            "after5/bn1.running_var": stats["bn1"]["var"],
            "after5/layer3.4.bn2.running_var": stats["layer3_4"]["bn2"]["var"],
        }
        return jax.device_get(result)


def _exact():
    with np.load(ROOT / "tests/fixtures/resnet32_float64.npz") as npz:
        return {name: npz[name] for name in npz.files}


STEP_VALUES = [name for name in _exact() if not name.startswith("rounding/")]


@pytest.mark.parametrize("name", STEP_VALUES)
def test_five_training_steps_in_float64(after_five_steps, name):
    """Against the same five steps in PyTorch float64: nothing but the mathematics is left to differ."""
    assert relative_error(after_five_steps[name], _exact()[name]) <= 1e-9


@pytest.mark.parametrize("name", STEP_VALUES)
def test_five_training_steps_against_the_published_file(after_five_steps, official, name):
    """The published file is float32, whose rounding these steps amplify (features: 12 % in PyTorch itself, see
    fixtures/make_resnet32_float64.py), so it is held to twice what PyTorch's float32 run is from its float64 one."""
    published = {"losses": "losses", "feature": "after5_eval_feature", "cosine": "after5_eval_cosine"}
    theirs = official[f"net/{published.get(name, name)}"]
    bound = max(1e-3, 2 * _exact()[f"rounding/{name}"])
    assert relative_error(after_five_steps[name], theirs) <= bound


def test_first_losses_against_the_published_file(after_five_steps, official):
    """Before rounding has grown: 1e-5 at the first step, 1e-3 over the first three."""
    ours, theirs = after_five_steps["losses"], official["net/losses"]
    assert relative_error(ours[0], theirs[0]) <= 1e-5
    assert relative_error(ours[:3], theirs[:3]) <= 1e-3


def test_running_variance_is_unbiased():
    """A batch of 4 single pixels 0, 1, 2, 3: biased variance 1.25, torch's running one takes 5/3."""
    norm = models.resnet_cifar.BatchNorm()
    x = jnp.arange(4.0).reshape(4, 1)
    start = norm.init(jax.random.key(0), x, train=False)
    y, moved = norm.apply(start, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(moved["batch_stats"]["var"], [0.9 + 0.1 * 5 / 3], rtol=1e-6)
    np.testing.assert_allclose(moved["batch_stats"]["mean"], [0.15], rtol=1e-6)
    np.testing.assert_allclose(y[:, 0], (np.arange(4) - 1.5) / np.sqrt(1.25 + 1e-5), rtol=1e-5)
    still, unmoved = norm.apply(start, x, train=False, mutable=["batch_stats"])
    np.testing.assert_array_equal(unmoved["batch_stats"]["var"], [1.0])
    np.testing.assert_allclose(still, x / np.sqrt(1 + 1e-5), rtol=1e-6)


@pytest.mark.parametrize(("depth", "parameters"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameter_counts(depth, parameters):
    """Table 6 of the ResNet paper, in millions."""
    network = models.build(f"resnet{depth}", "linear", 10)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert total / 1e6 == pytest.approx(parameters, abs=0.05 if depth == 110 else 0.006)
