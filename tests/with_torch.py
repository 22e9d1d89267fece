"""The benchmark's PyTorch side against ours; test_benchmark.py runs this file in a process of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from conftest import relative_error

from gcl_jax import models
from gcl_jax.benchmark import cifar, subjects
from gcl_jax.models import torch_names


def network_and_variables():
    network = models.build("resnet32", "cosine", cifar.NUM_CLASSES)
    return network, network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)


def test_torchs_network_is_ours():
    """The same parameters, and the same scores from the same weights."""
    from gcl_jax.benchmark import torch_network

    torch.manual_seed(0)
    theirs = torch_network.build(cifar.NUM_CLASSES)
    for name, value in theirs.named_buffers():  # statistics that a wrong map would show
        if "running" in name:
            value.uniform_(0.5, 1.5)
    network, ours = network_and_variables()
    mapped = torch_names.from_torch({name: value.numpy() for name, value in theirs.state_dict().items()})
    shapes = jax.tree.map(jnp.shape, dict(ours))
    assert jax.tree.map(np.shape, mapped) == shapes
    count = sum(parameter.numel() for parameter in theirs.parameters())
    assert count == sum(leaf.size for leaf in jax.tree.leaves(ours["params"])) == 464_144
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = theirs.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    assert relative_error(network.apply(mapped, images, train=False)["scores"], expected) <= 1e-4


@pytest.mark.parametrize("layout", subjects.LAYOUTS)
def test_torchs_batches_are_crops_of_the_images(layout):
    """Cropped and flipped on the device as one image after the other would be, in the layout that is measured."""
    from gcl_jax.benchmark import torch_workers

    resident = torch_workers._Resident("cpu", layout, "float32")
    index = torch.arange(0, 12406, 3101)
    images, labels = resident.batch(index)
    assert images.shape == (5, 3, 32, 32)
    assert images.is_contiguous(memory_format=resident.format)
    source, known = cifar.split("train")
    assert labels.tolist() == known[index.numpy()].tolist()
    pixels = np.round((images.numpy().transpose(0, 2, 3, 1) * cifar.STD + cifar.MEAN) * 255)
    for found, original in zip(pixels, source[index.numpy()], strict=True):
        padded = np.pad(original, ((4, 4), (4, 4), (0, 0)))
        windows = (
            padded[i : i + 32, j : j + 32][:, ::turn] for i in range(9) for j in range(9) for turn in (1, -1)
        )  # fmt: skip
        assert any(np.array_equal(found, window) for window in windows)


def test_torchs_loss_is_ours():
    from gcl_jax import losses
    from gcl_jax.benchmark import torch_workers

    training = torch_workers._Training("cpu", "nchw", "float32")
    cosine = torch.rand(8, 10) * 2 - 1
    labels = torch.arange(8)
    torch.manual_seed(1)
    theirs = training.loss(cosine, labels).item()
    torch.manual_seed(1)
    noise = torch.randn_like(cosine).numpy() / 3
    ours = losses.gcl(jnp.asarray(cosine.numpy()), jnp.arange(8), noise, training.cloud.numpy(), scale=30.0)
    assert theirs == pytest.approx(float(ours.mean()), rel=1e-5)
