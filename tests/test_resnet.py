"""ResNets for photographs: sizes, initial values, dtypes and rematerialisation; see with_torch_resnet.py for values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_error
from flax import traverse_util

from gcl_jax import losses, models
from gcl_jax.errors import UserError
from gcl_jax.models.resnet import ResNet
from gcl_jax.training.network_apply import NetworkApply

IMAGES = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
SMALL = {"layers": (1, 2), "groups": 2, "group_width": 16}  # two stages: 512 features


def network(**options):
    return models.Network(ResNet(**(SMALL | options)), models.HEADS["linear"](num_classes=3))


def run(function, *arguments):
    """Compiled in a hurry: what is measured here is values, once."""
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(function).lower(*arguments).compile(compiler_options=options)(*arguments)


def fresh(**options):
    return run(lambda: network(**options).init(jax.random.key(0), IMAGES, train=False))


@pytest.fixture(scope="module")
def variables():
    """Random in every parameter: with the scales that start at 0 no block would do anything."""
    rng = np.random.default_rng(0)
    start = dict(fresh())
    return start | {"params": jax.tree.map(lambda x: x + 0.2 * rng.normal(size=x.shape).astype("f4"), start["params"])}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032), ("resnet101", 44_549_160),
        ("resnet152", 60_192_808), ("resnext50_32x4d", 25_028_904),
        ("resnet10", 5_418_792),  # resnet18 without the second block of each stage: 11,689,512 - 6,270,720
    ],
)  # fmt: skip
def test_parameter_counts(name, parameters):
    """torchvision's, with a linear head of 1,000 classes."""
    whole = models.build(name, "linear", 1000)
    shapes = jax.eval_shape(lambda: whole.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == parameters


@pytest.mark.parametrize(("name", "dim"), [("resnet34", 512), ("resnet152", 2048)])
def test_features_and_their_map(name, dim):
    backbone = models.BACKBONES[name](dtype=jnp.bfloat16)
    images = jnp.zeros((2, 224, 224, 3))
    features, _ = jax.eval_shape(lambda: backbone.init_with_output(jax.random.key(0), images, train=False))
    assert (features.pooled.shape, features.pooled.dtype) == ((2, dim), jnp.float32)
    assert (features.map.shape, features.map.dtype) == ((2, 7, 7, dim), jnp.bfloat16)


def test_initial_values():
    """He's normal by fan-out for kernels, 0 for the scale of each block's last batch norm, 1 for the others'."""
    params = traverse_util.flatten_dict(fresh(group_width=32)["params"]["backbone"], sep="/")
    zeros = {name for name, value in params.items() if name.endswith("scale") and not value.any()}
    assert zeros == {"layer1_0/bn3/scale", "layer2_0/bn3/scale", "layer2_1/bn3/scale"}
    for name, value in params.items():
        if name.endswith("scale") and name not in zeros:
            np.testing.assert_array_equal(value, 1)
        elif name.endswith("bias"):
            np.testing.assert_array_equal(value, 0)
        elif name.endswith("kernel"):
            height, width, _, filters = value.shape
            assert np.std(value) == pytest.approx((2 / (height * width * filters)) ** 0.5, rel=0.05)


def test_a_fresh_block_is_its_shortcut():
    """ReLU(x), in train mode too."""
    block = models.resnet.Bottleneck(4, 1, jnp.float32)
    x = IMAGES[..., :1] * np.ones(16, np.float32)
    y, _ = run(lambda: block.init_with_output(jax.random.key(0), x, True))
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_bf16_keeps_parameters_and_statistics_in_float32(variables):
    def step(dtype):
        return run(
            lambda v: NetworkApply(network(dtype=dtype), "train")(v, IMAGES, train=True),
            variables,
        )

    (out, stats), (exact, exact_stats) = step(jnp.bfloat16), step(jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves((out, stats, fresh(dtype=jnp.bfloat16)))} == {jnp.float32.dtype}
    assert 0 < relative_error(out["features"], exact["features"]) < 0.1
    assert max(jax.tree.leaves(jax.tree.map(relative_error, stats, exact_stats))) < 0.1


def trained(variables, **options):
    """Scores, statistics and gradient of one step."""
    apply = NetworkApply(network(**options), "train")

    def objective(params):
        out, moved = apply({**variables, "params": params}, IMAGES, train=True)
        loss = losses.weighted_mean(losses.cross_entropy(out["scores"], jnp.arange(4) % 3))
        return loss, (out["scores"], moved)

    return jax.value_and_grad(objective, has_aux=True), variables["params"]


@pytest.mark.parametrize("bottleneck", [True, False])
def test_rematerialised_blocks_are_the_same(variables, bottleneck):
    """Names, initial values, scores, statistics and gradients; and the backward pass does compute blocks again."""
    shape = {} if bottleneck else {"bottleneck": False, "layers": (1, 1)}
    start = fresh(**shape)
    jax.tree.map(np.testing.assert_array_equal, dict(fresh(**shape, remat=True)), dict(start))
    variables = variables if bottleneck else jax.tree.map(lambda x: x + 0.1, dict(start))
    plain, params = trained(variables, **shape)
    again, _ = trained(variables, **shape, remat=True)
    errors = jax.tree.map(relative_error, run(again, params), run(plain, params))
    assert max(jax.tree.leaves(errors)) <= 1e-5
    convolutions = [str(jax.make_jaxpr(f)(params)).count("conv_general_dilated") for f in (plain, again)]
    assert convolutions[1] > convolutions[0]


def test_remat_is_refused_where_there_is_none():
    assert models.build({"name": "resnet50", "remat": True}, "linear", 3).backbone.remat
    with pytest.raises(
        UserError, match=r"model\.remat is True, but resnet32 has no remat: .*choose one of resnet10, resnet18"
    ):
        models.build({"name": "resnet32", "remat": True}, "linear", 3)
