"""AutoAugment and RandAugment: their tables against ../shared/reference, whole runs against Pillow on the same draws.

Random statistics are tested at 1e-6 each, four of them.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import _shared
from test_transform_values import PILLOW, RESAMPLE, images, pillow

from gcl_jax import rng
from gcl_jax.transforms import one_op, randaugment
from gcl_jax.transforms.autoaugment import POLICIES, AutoAugment, policy_tables
from gcl_jax.transforms.randaugment import OPS, TIMM_OPS, RandAugment, TimmRandAugment

ERROR = 1e-6
NUM = 4000


@pytest.fixture(scope="module")
def reference():
    return json.loads(_shared("reference/beyond/augment.json").read_text())


def test_the_cifar10_policy_is_the_references(reference):
    table = next(v for k, v in reference["autoaugment_cifar10"].items() if k.startswith("sub_policies"))
    names, probabilities, levels = POLICIES["cifar10"]
    ours = [[p[0], a[0], v[0], p[1], a[1], v[1]] for a, p, v in zip(names, probabilities, levels, strict=True)]
    renamed = {"translateX": "translate_x", "translateY": "translate_y", "shearX": "shear_x", "shearY": "shear_y"}
    assert ours == [[renamed.get(x, x) if isinstance(x, str) else x for x in row] for row in table]


def test_values_of_levels_are_the_references(reference):
    given = reference["autoaugment_cifar10"]["value = table[level], 10 levels linear"]
    for start, ops in {
        "shear": ("shear_x", "shear_y"),
        "translate": ("translate_x", "translate_y"),
        "rotate": ("rotate",),
        "color": ("color", "contrast", "sharpness", "brightness"),
        "posterize": ("posterize",),
        "solarize": ("solarize",),
    }.items():
        least, most = next(v for k, v in given.items() if k.startswith(start))
        expected = np.linspace(least, most, 10)
        expected = np.round(expected) if start == "posterize" else expected
        for op in ops:
            names, levels = np.full((10, 1), op), np.arange(10)[:, None]
            kinds, values, _ = policy_tables(names, levels)
            np.testing.assert_allclose(values[:, 0], expected, rtol=1e-6)
            assert one_op.KINDS[kinds[0, 0]] == op


def test_timms_ops_and_values_are_the_references(reference):
    rule = reference["randaugment_timm"]
    renamed = {"PosterizeTpu": "posterize", "SolarizeAdd": "solarize_add", "AutoContrast": "autocontrast"}
    renamed |= {"ShearX": "shear_x", "ShearY": "shear_y"}
    renamed |= {"TranslateXRel": "translate_x", "TranslateYRel": "translate_y"}
    assert list(TIMM_OPS) == [renamed.get(name, name.lower()) for name in rule["ops"]]
    part = jnp.array([1.0, 0.83, 0.0])
    values = dict(zip(TIMM_OPS, randaugment.timm_values(part, jnp.array([-1.0, 1.0, 1.0])), strict=True))
    expected = {
        "rotate": [-30, 24.9, 0],
        "posterize": [4, 3, 0],
        "solarize": [256, 212, 0],
        "solarize_add": [110, 91, 0],
        "color": [1.9, 0.1 + 1.8 * 0.83, 0.1],
        "shear_x": [-0.3, 0.249, 0],
        "translate_y": [-0.45, 0.3735, 0],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-6)
    assert str(randaugment.TIMM_FILL) in rule["fill"]


def test_torchvisions_values_at_magnitude_9():
    values, signed = randaugment.torchvision_values(9, 32, 48)
    found = dict(zip(OPS, values[:, 0].tolist(), strict=True))
    assert found["posterize"] == 8 - round(9 / 7.5)
    np.testing.assert_allclose(found["solarize"], np.linspace(255, 0, 31)[9], rtol=1e-6)
    np.testing.assert_allclose(found["rotate"], 9.0, rtol=1e-6)
    np.testing.assert_allclose(found["brightness"], 1.27, rtol=1e-6)
    np.testing.assert_allclose(found["translate_x"] * 48, -int(150 / 331 * 48 * 0.3), rtol=1e-6)
    np.testing.assert_allclose(found["translate_y"] * 32, -int(150 / 331 * 32 * 0.3), rtol=1e-6)
    assert [name for name, has in zip(OPS, signed, strict=True) if has] == list(OPS[1:10])


def through_pillow(image, steps, fill):
    """``steps`` of (kind, value, interpolation), one after the other."""
    made = pillow(image)
    for kind, value, interpolation in steps:
        made = PILLOW[kind](made, value, RESAMPLE[interpolation], fill)
    return np.asarray(made)


def require_near(found, expected):
    """Few pixels differ; by how much, an equalization that follows decides."""
    apart = np.abs(np.asarray(found).astype(int) - np.stack(expected).astype(int))
    assert (apart > 0).mean() < 0.02
    assert (apart > 8).mean() < 0.002


@pytest.mark.parametrize("policy", list(POLICIES))
def test_autoaugment_is_pillows_on_the_same_draws(policy):
    key, x = jax.random.key(5), np.concatenate([images()] * 20)
    found = AutoAugment(policy)(key, jnp.asarray(x), None)
    chosen = jax.random.randint(rng.fold(key, "policy"), (len(x),), 0, 25).tolist()
    uniforms = np.asarray(jax.random.uniform(rng.fold(key, "apply"), (len(x), 2)))
    signs = np.where(jax.random.bernoulli(rng.fold(key, "sign"), 0.5, (len(x), 2)), 1, -1)
    names, probabilities, levels = POLICIES[policy]
    expected = []
    for i, row in enumerate(chosen):
        steps = []
        for place in range(2):
            if uniforms[i, place] < probabilities[row, place]:
                steps.append(cifar_step(names[row, place], levels[row, place], signs[i, place]))
        expected.append(through_pillow(x[i], steps, (128,) * 3))
    require_near(found, expected)


def cifar_step(name, level, sign):
    """(kind, value, interpolation) of the code that CIFAR systems share."""
    share = level / 9
    if name in ("color", "contrast", "sharpness", "brightness"):
        return name, 1 + sign * 0.9 * share, 0
    if name.startswith("shear"):
        return name, sign * 0.3 * share, 2
    if name.startswith("translate"):
        return name, sign * 150 / 331 * share, 0
    fixed = {"rotate": 30 * share, "posterize": int(np.round(8 - 4 * share)), "solarize": 256 - 256 * share}
    return name, fixed.get(name, 0), 0


def test_timms_randaugment_is_pillows_on_the_same_draws():
    key, x = jax.random.key(6), np.concatenate([images()] * 20)
    batch = (len(x),)
    found = TimmRandAugment(2, 10.0)(key, jnp.asarray(x), None)
    steps = [[] for _ in x]
    for place in range(2):
        ops = jax.random.randint(rng.fold(key, "op", place), batch, 0, 15).tolist()
        applied = jax.random.uniform(rng.fold(key, "apply", place), batch) < 0.5
        levels = np.clip(10 + 0.5 * jax.random.normal(rng.fold(key, "level", place), batch), 0, 10)
        signs = np.where(jax.random.bernoulli(rng.fold(key, "sign", place), 0.5, batch), 1, -1)
        cubic = jax.random.bernoulli(rng.fold(key, "interpolation", place), 0.5, batch)
        for i, op in enumerate(ops):
            if applied[i]:
                values = randaugment.timm_values(jnp.float32(levels[i] / 10), jnp.float32(signs[i]))
                steps[i].append((TIMM_OPS[op], float(values[op]), 1 + int(cubic[i])))
    require_near(found, [through_pillow(a, s, randaugment.TIMM_FILL) for a, s in zip(x, steps, strict=True)])


def test_torchvisions_randaugment_is_pillows_on_the_same_draws():
    key, x = jax.random.key(7), np.concatenate([images(37, 52)] * 20)
    batch = (len(x),)
    found = RandAugment(2, 9)(key, jnp.asarray(x), None)
    values, signed = randaugment.torchvision_values(9, 37, 52)
    steps = [[] for _ in x]
    for place in range(2):
        ops = jax.random.randint(rng.fold(key, "op", place), batch, 0, 14).tolist()
        negative = jax.random.bernoulli(rng.fold(key, "sign", place), 0.5, batch)
        for i, op in enumerate(ops):
            steps[i].append((OPS[op], float(values[op, int(negative[i] and signed[op])]), 0))
    require_near(found, [through_pillow(a, s, (0, 0, 0)) for a, s in zip(x, steps, strict=True)])


@pytest.fixture
def recorded(monkeypatch):
    """The kinds and values that ops were called with."""
    calls = []

    def record(images, kinds, values, interpolations, **_):
        calls.append((np.asarray(kinds), np.asarray(values)))
        return images

    monkeypatch.setattr(one_op, "apply_ops", record)
    return calls


def test_timms_ops_are_uniform_and_half_are_applied(recorded):
    TimmRandAugment(1)(jax.random.key(0), jnp.zeros((NUM, 1, 1, 3), jnp.uint8), None)
    counts = np.bincount(recorded[0][0], minlength=16)
    assert scipy.stats.binomtest(int(counts[0]), NUM, 0.5).pvalue > ERROR
    assert (counts[1:] > 0).all()
    assert scipy.stats.chisquare(counts[1:]).pvalue > ERROR


def test_half_of_timms_levels_are_cut_off_at_ten(recorded):
    TimmRandAugment(1, p=1.0)(jax.random.key(0), jnp.zeros((NUM, 1, 1, 3), jnp.uint8), None)
    kinds, values = recorded[0]
    turned = values[kinds == one_op.ROTATE]
    assert scipy.stats.binomtest(int((np.abs(turned) == 30).sum()), len(turned), 0.5).pvalue > ERROR
    assert scipy.stats.binomtest(int((turned > 0).sum()), len(turned), 0.5).pvalue > ERROR
