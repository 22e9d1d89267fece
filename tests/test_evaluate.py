"""Evaluation counts each example once, and applies post-hoc adjustment, on known logits."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from gcl_jax.data.dataset import Dataset, Split
from gcl_jax.data.device import DeviceLoader
from gcl_jax.methods import ClassInfo, CrossEntropy
from gcl_jax.runtime import mesh
from gcl_jax.training import evaluate
from gcl_jax.transforms import StageTransforms, pipeline

COUNTS = np.array([90, 9, 1], np.float32)
STATS = ClassInfo(jnp.asarray(COUNTS), {})
TRANSFORMS = StageTransforms(mean=(0.0,), std=(1 / 255,))  # images come out as their pixel values


def fake_apply(variables, images, *, train, key=None):
    """A "network" whose logits are the first three pixels."""
    return {"scores": images.reshape(len(images), -1)[:, :3]}, {}


def predict(num, batch_size, tau=0.0, pixels=None, transforms=TRANSFORMS):
    if pixels is None:
        pixels = np.random.RandomState(0).randint(0, 9, (num, 2, 2, 1)).astype(np.uint8)
    labels = np.arange(num, dtype=np.int32) % 3
    dataset = Dataset("known", {"test": Split(pixels, labels)}, ("a", "b", "c"), np.arange(0))
    grid = mesh.make_mesh()
    loader = DeviceLoader(dataset, grid)
    step = evaluate.make_eval_step(fake_apply, CrossEntropy(), transforms, loader.fetch, tau)
    logits = pixels.reshape(num, -1)[:, :3].astype(np.float64)
    return evaluate.predict(step, ({}, {}), STATS, loader, grid, "test", num, batch_size)(), logits, labels


@pytest.mark.parametrize("batch_size", [2, 4, 10, 22, 30])
def test_each_example_counts_once_whatever_the_batch(batch_size):
    found, logits, labels = predict(22, batch_size)
    assert found.label.tolist() == labels.tolist()
    assert found.predicted.tolist() == logits.argmax(1).tolist()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found.nll, -np.log(p[np.arange(22), labels]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.confidence, p.max(1), rtol=1e-5)
    assert found.rank.tolist() == ranks(logits, labels).tolist()


def test_logits_of_several_views_are_averaged():
    two = dataclasses.replace(TRANSFORMS, views=(pipeline(""), pipeline("flip(1.0)")))
    pixels = np.random.RandomState(2).randint(0, 9, (12, 2, 2, 1)).astype(np.uint8)
    found, logits, _ = predict(12, 4, pixels=pixels, transforms=two)
    mean = (logits + pixels[:, :, ::-1].reshape(12, -1)[:, :3]) / 2
    np.testing.assert_allclose(found.confidence, (np.exp(mean) / np.exp(mean).sum(1, keepdims=True)).max(1), rtol=1e-5)
    assert (found.confidence != predict(12, 4, pixels=pixels)[0].confidence).any()


def ranks(logits, labels):
    """Classes before the label's own: of equal logits the first counts, as for argmax."""
    order = np.argsort(-logits, axis=1, kind="stable")
    return np.argmax(order == labels[:, None], axis=1)


def test_of_equal_logits_the_first_counts():
    """Else a network that says nothing, whose logits are all equal, would have every class among its first five."""
    found, logits, labels = predict(22, 4, pixels=np.zeros((22, 2, 2, 1), np.uint8))
    assert found.rank.tolist() == labels.tolist()
    pixels = np.random.RandomState(1).randint(0, 2, (22, 2, 2, 1)).astype(np.uint8)
    found, logits, labels = predict(22, 4, pixels=pixels)
    assert found.rank.tolist() == ranks(logits, labels).tolist()
    assert ((found.rank == 0) == (found.predicted == labels)).all()


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_posthoc_logit_adjustment(tau):
    found, logits, labels = predict(22, 4, tau)
    adjusted = logits - tau * np.log(COUNTS / COUNTS.sum())
    assert found.predicted.tolist() == adjusted.argmax(1).tolist()
    assert found.predicted.tolist() != logits.argmax(1).tolist()
    p = np.exp(adjusted) / np.exp(adjusted).sum(1, keepdims=True)
    np.testing.assert_allclose(found.nll, -np.log(p[np.arange(22), labels]), rtol=1e-5, atol=1e-6)
