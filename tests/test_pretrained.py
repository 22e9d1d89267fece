"""Published weights: files, torchvision's names, and what of them a stage takes."""

import importlib.util
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from gcl_jax import models
from gcl_jax.checkpoints import pretrained, warm_start
from gcl_jax.errors import UserError
from gcl_jax.methods.base import Method
from gcl_jax.models import torch_names


def torchvision_resnet18(classes=1000):
    """Names and shapes of torchvision's resnet18, written down; the arrays take no memory."""
    shapes = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (classes, 512), "fc.bias": (classes,)}
    norms = {"bn1": 64}
    for stage, (before, filters) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], start=1):
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            shapes[f"{at}.conv1.weight"] = (filters, filters if block else before, 3, 3)
            shapes[f"{at}.conv2.weight"] = (filters, filters, 3, 3)
            norms |= {f"{at}.bn1": filters, f"{at}.bn2": filters}
        if stage > 1:
            shapes[f"layer{stage}.0.downsample.0.weight"] = (filters, before, 1, 1)
            norms[f"layer{stage}.0.downsample.1"] = filters
    for norm, channels in norms.items():
        shapes |= {f"{norm}.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{norm}.num_batches_tracked"] = ()
    assert len(shapes) == 122
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def fresh(head, classes, name="resnet18"):
    network = models.build(name, head, classes)
    return jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_map_of_torchvisions_names_is_complete(prefix):
    found = torch_names.from_torch({prefix + name: value for name, value in torchvision_resnet18().items()})
    assert jax.tree.map(np.shape, found) == jax.tree.map(jnp.shape, dict(fresh("linear", 1000)))


def test_an_array_goes_to_its_place():
    """One number for each array; a transposed kernel has its axes where they belong."""
    values = {
        "layer2.0.downsample.0.weight": np.arange(6.0).reshape(2, 3, 1, 1),
        "layer2.0.downsample.1.running_var": np.array([7.0]),
        "layer4.11.conv3.weight": np.arange(24.0).reshape(1, 2, 3, 4),
        "layer4.11.bn3.bias": np.array([8.0]),
        "fc.weight": np.arange(6.0).reshape(2, 3),
        "fc.bias": np.array([9.0, 10.0]),
    }
    found = torch_names.from_torch(values)
    backbone, stats = found["params"]["backbone"], found["batch_stats"]["backbone"]
    kernel = backbone["layer2_0"]["downsample_conv"]["kernel"]
    assert kernel.tolist() == [[[[0, 3], [1, 4], [2, 5]]]]
    assert stats["layer2_0"]["downsample_bn"]["var"].tolist() == [7]
    assert backbone["layer4_11"]["conv3"]["kernel"][2, 3, 1, 0] == values["layer4.11.conv3.weight"][0, 1, 2, 3]
    assert backbone["layer4_11"]["bn3"]["bias"].tolist() == [8]
    assert found["params"]["head"]["kernel"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["params"]["head"]["bias"].tolist() == [9, 10]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layer1.0.se.fc1.weight", (1,)), ("conv1.0.weight", (8, 3, 3, 3)), ("layer1.0.conv1.bias", (64,)),
        ("fc.mask", (2,)), ("layer1.0.downsample.2.weight", (4,)), ("layer1.0.conv1.weight", (64,)),
        ("x_train", (5, 8, 8, 3)),
    ],
)  # fmt: skip
def test_a_name_that_is_not_known_is_named(name, shape):
    with pytest.raises(UserError, match=f"torch checkpoint: .*{name!r}"):
        torch_names.from_torch(torchvision_resnet18() | {name: np.zeros(shape)})


def restored_part(variables, restore=Method.restore):
    return warm_start.restore_variables(variables, FOUND, lambda path: re.match(restore, "/".join(path)), "a.pth")


def restored(path):
    return re.match(Method.restore, "/".join(path))


FOUND = torch_names.from_torch(torchvision_resnet18())
CURE = r"; --config\.STAGE\.restore=backbone/ takes the backbone alone$"


def test_a_head_of_the_same_classes_is_inherited():
    found = restored_part(fresh("linear", 1000))
    assert isinstance(found["params"]["head"]["kernel"], np.ndarray)


@pytest.mark.parametrize(
    ("head", "classes", "message"),
    [
        ("linear", 7, r"a\.pth: head/\w+ has shape \(.*\), the model needs \(.*\)"),
        ("cosine", 7, r"a\.pth: head/kernel has shape \(512, 1000\), the model needs \(512, 7\)"),
        ("cosine", 1000, r"a\.pth holds head/bias, for which the model has no place"),
    ],
)
def test_another_head_is_left_out_where_the_config_says_so(head, classes, message):
    variables = fresh(head, classes)
    with pytest.raises(UserError, match=message + CURE):
        restored_part(variables)
    found = restored_part(variables, "backbone/")
    assert found["params"]["head"] == variables["params"]["head"]
    kernels = [leaf for leaf in jax.tree.leaves(found["params"]["backbone"]) if not isinstance(leaf, np.ndarray)]
    assert kernels == []


def test_a_file_without_a_head_is_left_to_a_fresh_one():
    trunk = {name: value for name, value in torchvision_resnet18().items() if not name.startswith("fc.")}
    found = torch_names.from_torch(trunk)
    with pytest.raises(UserError, match=r"has no params head/\w+" + ".*" + CURE):
        warm_start.restore_variables(fresh("linear", 7), found, restored, "a.npz")
    warm_start.restore_variables(fresh("linear", 7), found, lambda path: path[0] == "backbone", "a.npz")


def test_numbers_that_are_not_finite_are_named():
    arrays = torchvision_resnet18()
    arrays["layer1.0.conv1.weight"] = np.full_like(arrays["layer1.0.conv1.weight"], np.nan)
    with pytest.raises(UserError, match=r"a\.npz: backbone/layer1_0/conv1/kernel holds numbers that are not finite"):
        warm_start.restore_variables(fresh("linear", 1000), torch_names.from_torch(arrays), restored, "a.npz")


def test_another_depth_is_named():
    with pytest.raises(UserError, match=r"a\.pth has no params backbone/layer1_2/\S+: it is of another model or head$"):
        warm_start.restore_variables(fresh("linear", 1000, "resnet34"), FOUND, restored, "a.pth")
    with pytest.raises(UserError, match=r"a\.pth holds backbone/layer\d_1/\S+, for which the model has no place$"):
        warm_start.restore_variables(fresh("linear", 1000, "resnet10"), FOUND, restored, "a.pth")


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="pip install 'gcl_jax[pretrained]'")
    arrays = {"conv1.weight": np.random.default_rng(0).normal(size=(2, 3, 7, 7)).astype(np.float16),
              "bn1.num_batches_tracked": np.array(3)}  # fmt: skip
    file = tmp_path / "a.safetensors"
    safetensors.save_file(arrays, file)
    found = pretrained.read(str(file))
    assert set(found) == set(arrays)
    np.testing.assert_array_equal(found["conv1.weight"], arrays["conv1.weight"])
    kernel = warm_start.load(str(file), None)["params"]["backbone"]["conv1"]["kernel"]
    assert (kernel.shape, kernel.dtype) == ((7, 7, 3, 2), np.float32)

    whole = file.read_bytes()
    for damaged in (b"", b"abc", whole[:30], whole[:-3]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"init_from: .*a\.safetensors is damaged"):
            pretrained.read(str(file))
    header = json.dumps({"bn1.weight": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UserError, match=r"a\.safetensors holds BF16, which numpy lacks: save it as float32"):
        pretrained.read(str(file))


@pytest.mark.parametrize(
    ("name", "package", "cure"),
    [
        ("a.safetensors", "safetensors", r"pip install 'gcl_jax\[pretrained\]'"),
        ("a.pth", "torch", r"pip install torch, or convert it to \.safetensors or \.npz where torch is"),
        ("a.pth.tar", "torch", "pip install torch"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_cure(tmp_path, monkeypatch, name, package, cure):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(UserError, match=f"init_from: .*{name} cannot be read without {package}: {cure}"):
        warm_start.load(str(tmp_path / name), None)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(UserError, match=r"model\.ckpt is none of \.npz, \.safetensors, \.pth, \.pt, \.pth\.tar, nor a"):
        warm_start.load(str(tmp_path / "model.ckpt"), None)
    assert warm_start.seed_folder(str(tmp_path / "model.ckpt"), 3) == str(tmp_path / "model.ckpt")


def test_arrays_of_anything_but_numbers_are_named(tmp_path):
    for name, value in (("text", np.array(["a"])), ("truth", np.array([True])), ("complex", np.array([1j]))):
        np.savez(tmp_path / "a.npz", **{"fc.weight": np.zeros((2, 3)), name: value})
        with pytest.raises(UserError, match=rf"init_from: .*a\.npz: {name} holds \S+, not real numbers"):
            warm_start.load(str(tmp_path / "a.npz"), None)


def test_torchs_networks_and_files_are_ours():
    """The checks of with_torch_resnet.py, in a process of their own: PyTorch and TensorFlow in one can crash."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: pip install 'gcl_jax[bench]'")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/with_torch_resnet.py"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
