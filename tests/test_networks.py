"""What networks promise: features by kind, cuts at a block, heads with batch norm, dropout's key, options."""

import dataclasses
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from tiny import digits, load_config

from gcl_jax import config as config_lib
from gcl_jax import methods, models
from gcl_jax.config import validation
from gcl_jax.errors import UserError
from gcl_jax.models import BACKBONES, Features, Network
from gcl_jax.models.norm import BatchNorm
from gcl_jax.registry import OptionRegistry, Registry, option
from gcl_jax.training.network_apply import NetworkApply
from gcl_jax.training.run_context import RunContext

IMAGES = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))


def initialized(network, images=IMAGES):
    variables = jax.jit(lambda: network.init(jax.random.key(1), images, train=False))()
    return {"batch_stats": {}, **variables}


SMALL = {
    "cifar": lambda: models.resnet_cifar.ResNetCifar(blocks=1),
    "photographs": lambda: models.resnet.ResNet(layers=(1, 1), bottleneck=False),
}


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("block", ["stem", "layer1_0", "layer2_0"])
@pytest.mark.parametrize("train", [False, True])
def test_a_cut_network_is_the_whole_one(kind, block, train):
    """Below and above a block, one after the other, in evaluation and in training; statistics too."""
    apply = NetworkApply(Network(SMALL[kind](), models.HEADS["linear"](num_classes=3)), "train")
    variables = initialized(apply.network)
    whole, state = apply.features(variables, IMAGES, train=train)
    below, first = apply.features(variables, IMAGES, train=train, upto=block)
    above, second = apply.features({**variables, **first}, below, train=train, start=block)
    np.testing.assert_allclose(above.pooled, whole.pooled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(above.map, whole.map, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), second, state)


def test_a_block_that_is_not_there_is_named():
    apply = NetworkApply(models.build("resnet8", "linear", 3), "train")
    with pytest.raises(UserError, match=r"the block upto is 'layer9_0'.*layer1_0"):
        apply.features(initialized(apply.network), IMAGES, train=False, upto="layer9_0")


def test_two_experts_have_the_branches_names():
    network = models.build({"name": "resnet8", "experts": 3}, "linear", 3)
    variables = initialized(network)
    blocks = {path[1] for path in traverse_util.flatten_dict(variables["params"]) if path[0] == "backbone"}
    assert blocks == {"conv1", "bn1", "layer1_0", "layer2_0", "cb_block", "rb_block", "expert2_block"}
    apply = NetworkApply(network, "train")
    together = apply.features(variables, IMAGES, train=False)[0].pooled
    alone = [apply.features(variables, IMAGES, train=False, expert=i)[0].pooled for i in range(3)]
    assert together.shape == (4, 3 * 64)
    np.testing.assert_array_equal(together, jnp.concatenate(alone, axis=1))


class NormedHead(nn.Module):
    """A classifier behind batch norm and dropout."""

    num_classes: int
    takes: ClassVar[str] = "map"

    @nn.compact
    def __call__(self, feature_map, *, train=False):
        x = BatchNorm(name="bn")(feature_map.mean(axis=(1, 2)), train=train)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return {"features": x, "scores": nn.Dense(self.num_classes, name="dense")(x)}


@pytest.mark.parametrize("bn", ["train", "frozen"])
def test_a_head_may_have_batch_norm_and_dropout(bn):
    """Its statistics move in training whatever the backbone's do; dropout depends on the key alone."""
    apply = NetworkApply(Network(models.resnet_cifar.ResNetCifar(blocks=1), NormedHead(num_classes=3)), bn)
    variables = initialized(apply.network)
    key = jax.random.key(2)
    out, state = apply(variables, IMAGES, train=True, key=key)
    again, _ = apply(variables, IMAGES, train=True, key=key)
    other, _ = apply(variables, IMAGES, train=True, key=jax.random.key(3))
    np.testing.assert_array_equal(out["scores"], again["scores"])
    assert not np.array_equal(out["scores"], other["scores"])
    before, after = (traverse_util.flatten_dict(tree["batch_stats"]) for tree in (variables, state))
    assert before.keys() == after.keys()
    for path, value in before.items():
        assert np.array_equal(value, after[path]) == (path[0] == "backbone" and bn == "frozen"), path
    evaluated, state = apply(variables, IMAGES, train=False)
    assert state == {"batch_stats": variables["batch_stats"]}
    assert np.isfinite(evaluated["scores"]).all()


class TokensOnly(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        return Features(tokens=nn.Dense(8)(images.reshape(len(images), -1, images.shape[-1])))


def test_features_that_a_backbone_lacks_are_named():
    with pytest.raises(UserError, match="the head CosineHead takes pooled features, which TokensOnly has not"):
        initialized(Network(TokensOnly(), models.HEADS["cosine"](num_classes=3)))


def test_options_of_another_backbone_are_refused():
    with pytest.raises(UserError, match=r"config\.model\.experts is 2, but resnet50 has no experts: leave it out"):
        models.build({"name": "resnet50", "experts": 2}, "linear", 3)
    with pytest.raises(UserError, match=r"config\.model\.remat is True, but resnet32 has no remat"):
        models.build({"name": "resnet32", "remat": True}, "linear", 3)
    assert models.build({"name": "resnet50", "experts": 1, "remat": True}, "linear", 3).backbone.remat


class Wide(nn.Module):
    width: int = option(8, "[1, 64]")
    experts: int = option(1, "[1, 64]")
    unnamed: int = 3


def test_a_registered_option_is_a_key_of_its_block():
    shapes = OptionRegistry("shape", {"wide": Wide})
    block = shapes.bind({"name": "wide"}, ranges := {}, "config.")
    assert block == {"name": "wide", "width": 8, "experts": 1}
    shapes.register("deep", partial(Deep, width=3))
    assert block == {"name": "wide", "width": 8, "experts": 1, "depth": 2}
    assert set(ranges) == {"config.width", "config.experts", "config.depth"}
    assert shapes.build({**block, "depth": 2, "width": 4}, "config.shape").width == 4
    with pytest.raises(UserError, match=r"config\.shape\.depth is 5, but wide has no depth"):
        shapes.build({**block, "depth": 5}, "config.shape")
    with pytest.raises(UserError, match=r"config\.shape\.width is 4, but deep has no width"):
        shapes.build({**block, "name": "deep", "width": 4}, "config.shape")


class Deep(nn.Module):
    depth: int = option(2, "[1, 9]")
    width: int = option(8, "[1, 64]")


class Other(nn.Module):
    width: int = option(16, "[1, 64]")


class Renames(nn.Module):
    name_of_block: str = option("x")
    learning_rate: float = option(0.1)


def test_an_option_means_one_thing():
    shapes = OptionRegistry("shape", {"wide": Wide})
    with pytest.raises(UserError, match="the shape 'other' has an option 'width', which means something else"):
        shapes.register("other", Other)
    shapes.bind({"name": "wide", "learning_rate": 0.5}, {}, "")
    with pytest.raises(UserError, match="an option 'learning_rate', which means something else"):
        shapes.register("renames", Renames)
    assert set(shapes) == {"wide"}


def test_a_registry_refuses_a_name_that_is_taken():
    colors = Registry("color", {"red": Wide})
    colors.register("red", Wide)
    with pytest.raises(UserError, match="the color 'red' is registered already"):
        colors.register("red", Other)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_returns_features(name):
    network = models.build(name, "linear", 5)
    out = jax.eval_shape(
        lambda: network.backbone.init_with_output(jax.random.key(0), jnp.zeros((2, 64, 64, 3)), train=False)[0]
    )
    assert isinstance(out, Features)
    assert out.pooled.shape == (2, out.map.shape[-1])
    assert all(models.call_takes(name, argument) for argument in ("start", "upto"))


def test_a_network_is_made_for_what_transforms_leave():
    """OLTR's attention has a weight for each place of the map: 8 x 8 digits at 12 x 12."""
    twelve = "resize(12)"
    config = load_config("digits_lt:oltr", "100")
    config.meta_embedding.transforms.main = (twelve,)
    config.eval.views = (twelve,)
    stage = RunContext(config).stage("meta_embedding", 1)
    start = jax.device_get(stage._init_network(jax.random.key(0)))
    assert start["params"]["head"]["attention"]["spatial_kernel"].shape == (3 * 3 * 64, 3 * 3)


class Averaging(nn.Module):
    """A backbone that keeps a mean in a collection of a name that a checkpoint uses otherwise."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, *, train):
        mean = self.variable("ema", "mean", jnp.zeros, images.shape[-1])
        if train and not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * images.mean((0, 1, 2))
        return Features(pooled=nn.Dense(8)((images - mean.value).reshape(len(images), -1)))


def test_a_collection_of_a_checkpoints_name_is_refused(monkeypatch):
    """It would be overwritten in every checkpoint, and nobody would know before the next stage."""
    monkeypatch.setitem(BACKBONES, "averaging", Averaging)
    config = digits(model__name="averaging", stages=("representation",))
    with pytest.raises(UserError, match="keeps a collection called 'ema', which is another part of a checkpoint"):
        RunContext(config).stage("representation", 1)


class Narrow(nn.Module):
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, *, train):
        return Features(pooled=nn.Dense(8, param_dtype=jnp.bfloat16)(images.reshape(len(images), -1)))


@dataclasses.dataclass(frozen=True)
class Keyed(methods.CrossEntropy):
    """Cross-entropy whose state is a key."""

    def init_state(self, key, variables, info):
        return {"key": key}


def test_what_no_checkpoint_holds_is_refused_before_it_trains(monkeypatch):
    monkeypatch.setitem(BACKBONES, "narrow", Narrow)
    monkeypatch.setitem(methods.METHODS, "keyed", Keyed)
    config = digits(model__name="narrow")
    with pytest.raises(UserError, match="params/backbone/Dense_0/bias is of type bfloat16: parameters are kept in"):
        RunContext(config).stage("representation", 1).compile()
    config = digits()
    config.representation.method = config_lib.method("keyed")
    with pytest.raises(UserError, match="method_state/key is an array of JAX's keys"):
        RunContext(config).stage("representation", 1).compile()


@pytest.mark.parametrize("experts", [1, 3])
def test_a_method_gets_as_many_experts_as_it_names(experts):
    config = load_config("digits_lt:bbn")
    config.model.experts = experts
    with pytest.raises(UserError, match=rf"model\.experts is {experts}, but bbn needs 2: set .*experts=2"):
        validation.validate(config)
