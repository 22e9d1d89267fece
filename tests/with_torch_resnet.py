"""ResNets for photographs against PyTorch, and its files; test_pretrained.py runs this file in a process of its own."""

import io
import os
import pickle
import re
import tarfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from conftest import relative_error
from torch_resnet import ResNet

from gcl_jax import models
from gcl_jax.checkpoints import pretrained, warm_start
from gcl_jax.errors import UserError
from gcl_jax.methods.base import Method
from gcl_jax.models import torch_names

NETWORKS = {
    "resnet10": ((1, 1, 1, 1), {"bottleneck": False}),
    "resnet18": ((2, 2, 2, 2), {"bottleneck": False}),
    "resnet50": ((3, 4, 6, 3), {}),
    "resnext50_32x4d": ((3, 4, 6, 3), {"groups": 32, "group_width": 4}),
}
IMAGES = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)


def torch_network(name, num_classes=7):
    """Random, with scales and statistics that a wrong map would show."""
    torch.manual_seed(0)
    layers, options = NETWORKS[name]
    network = ResNet(layers, num_classes, **options)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    return network


def to_torch(images):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def mapped(network):
    """Copied, since torch moves its statistics in place."""
    return torch_names.from_torch({name: value.numpy().copy() for name, value in network.state_dict().items()})


def compiled(function, *arguments):
    """Run once: what matters is the time to compile."""
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(function).lower(*arguments).compile(compiler_options=options)(*arguments)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_forward_is_torchs(name):
    theirs = torch_network(name).eval()
    network, variables = models.build(name, "linear", 7), mapped(theirs)
    fresh = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.asarray(IMAGES), train=False))
    assert jax.tree.map(jnp.shape, dict(fresh)) == jax.tree.map(jnp.shape, variables)
    with torch.inference_mode():
        features, scores = theirs.features(to_torch(IMAGES)).numpy(), theirs(to_torch(IMAGES)).numpy()
    out = compiled(lambda v, x: network.apply(v, x, train=False), variables, IMAGES)
    assert relative_error(out["features"], features) <= 1e-4
    assert relative_error(out["scores"], scores) <= 1e-4


def test_running_statistics_after_a_step_are_torchs():
    """In train mode, with the unbiased variance, in every batch norm of the network."""
    theirs = torch_network("resnet10").train()
    network, variables = models.build("resnet10", "linear", 7), mapped(theirs)
    images = np.concatenate([IMAGES, IMAGES[:, ::-1] ** 2])
    expected = theirs(to_torch(images)).detach().numpy()
    out, moved = compiled(lambda v: network.apply(v, images, train=True, mutable=["batch_stats"]), variables)
    assert relative_error(out["scores"], expected) <= 1e-4
    after = mapped(theirs)["batch_stats"]
    errors = jax.tree.map(relative_error, dict(moved["batch_stats"]), after)
    assert max(jax.tree.leaves(errors)) <= 1e-4
    moves = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), after, variables["batch_stats"])
    assert min(jax.tree.leaves(moves)) > 1e-3


def assert_same(found, state_dict):
    assert set(found) == set(state_dict)
    for name, value in state_dict.items():
        np.testing.assert_array_equal(found[name], value.numpy())


@pytest.mark.parametrize("ending", [".pth", ".pt", ".pth.tar"])
@pytest.mark.parametrize("zipped", [True, False])  # torchvision's older files are not
def test_a_state_dict_is_read(tmp_path, ending, zipped):
    state_dict = {"conv1.weight": torch.randn(2, 3, 3, 3), "bn1.num_batches_tracked": torch.tensor(3)}
    file = tmp_path / f"weights{ending}"
    torch.save(state_dict, file, _use_new_zipfile_serialization=zipped)
    assert_same(pretrained.read(str(file)), state_dict)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_checkpoint_is_unwrapped(tmp_path, key):
    """As training scripts save it, with an optimizer and a best accuracy beside it."""
    state_dict = torch_network("resnet10").state_dict()
    optimizer = {"state": {}, "param_groups": [{"lr": 0.1}]}
    parallel = {f"module.{name}": value for name, value in state_dict.items()}
    checkpoint = {"epoch": 3, "arch": "resnet10", key: parallel, "best_acc1": torch.tensor(1.0), "optimizer": optimizer}
    torch.save(checkpoint, tmp_path / "ckpt.best.pth.tar")
    found = warm_start.load(str(tmp_path / "ckpt.best.pth.tar"), None)
    jax.tree.map(np.testing.assert_array_equal, found, mapped(torch_network("resnet10")))


def test_the_parts_of_the_places_checkpoint_are_one_network(tmp_path):
    """A trunk without layer4's last block, that block as ``layer5``, and the cosine classifier, [D, C]."""
    state_dict = torch_network("resnet18").state_dict()
    last, parts = "layer4.1.", {"model": {}, "block": {}, "classifier": {"module.fc.weight": torch.randn(512, 7)}}
    for name, value in state_dict.items():
        if name.startswith(last):
            parts["block"]["module.layer5." + name.removeprefix(last)] = value
        elif not name.startswith("fc."):
            parts["model"]["module." + name] = value
    torch.save({f"{part}_state_dict": value for part, value in parts.items()}, tmp_path / "a.pth.tar")
    found = warm_start.load(str(tmp_path / "a.pth.tar"), None)
    expected = mapped(torch_network("resnet18"))
    expected["params"]["head"] = {"kernel": parts["classifier"]["module.fc.weight"].numpy()}
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    fresh = jax.eval_shape(
        lambda: models.build("resnet18", "cosine", 7).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False)
    )
    warm_start.restore_variables(fresh, found, lambda path: re.match(Method.restore, "/".join(path)), "a.pth.tar")


def test_half_precision_becomes_float32(tmp_path):
    torch.save({"bn1.weight": torch.tensor([1.5], dtype=torch.bfloat16)}, tmp_path / "a.pth")
    found = pretrained.read(str(tmp_path / "a.pth"))["bn1.weight"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.5]


class Runs:
    """What loading it with pickle would run."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_what_is_more_than_weights_is_refused_and_not_run(tmp_path):
    for zipped in (True, False):
        torch.save({"conv1.weight": Runs(tmp_path / "ran")}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match=r"a\.pth is damaged or holds more than weights, which torch refuses"):
            pretrained.read(str(tmp_path / "a.pth"))
        assert not (tmp_path / "ran").exists()
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(UserError, match=r"save the network's state_dict\(\) alone"):
        pretrained.read(str(tmp_path / "whole.pt"))


def in_a_tar(content: bytes) -> bytes:
    """As the first versions of torch saved: a tar file with pickles in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name in ("storages", "tensors", "pickle"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.pth.tar"])
@pytest.mark.parametrize("wrap", [bytes, in_a_tar])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_by_a_name_of_torch_is_refused_in_one_line_and_not_run(tmp_path, name, wrap, protocol):
    (tmp_path / name).write_bytes(wrap(pickle.dumps(Runs(tmp_path / "ran"), protocol)))
    with pytest.raises(UserError, match=rf"init_from: .*{name} is damaged") as error:
        pretrained.read(str(tmp_path / name))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_damaged_file_is_named(tmp_path, kept, zipped):
    file = tmp_path / "a.pth"
    torch.save({"bn1.weight": torch.zeros(1000)}, file, _use_new_zipfile_serialization=zipped)
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(UserError, match=r"init_from: .*a\.pth is damaged"):
        pretrained.read(str(file))


@pytest.mark.parametrize("found", [[torch.zeros(1)], torch.zeros(1), {"epoch": 3}, {"state_dict": {"lr": 0.1}}])
def test_a_file_without_a_state_dict_is_named(tmp_path, found):
    torch.save(found, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth has no state dict|torch checkpoint: 'Tensor' is not a parameter"):
        warm_start.load(str(tmp_path / "a.pth"), None)
