"""Every number of a config has a range: its ends are taken, and what lies beyond is named in one line."""

import copy
import dataclasses
import math

import numpy as np
import pytest
from ml_collections import ConfigDict

from gcl_jax import config, data, optim, ranges, sampling
from gcl_jax.config import validation
from gcl_jax.config.keys import TUPLES_OF_TEXT
from gcl_jax.errors import UserError
from gcl_jax.methods import METHODS
from gcl_jax.ranges import Range
from gcl_jax.runtime import mesh
from gcl_jax.sampling import SAMPLERS
from gcl_jax.training.stage import Stage

ABSURD = [math.nan, math.inf, -math.inf, -0.0, 10**21, -(10**21), 10**400, -(10**4400), 1e308, True, False, "1", None]


def numbers(defaults, at=""):
    """(dotted key, default) of every number and tuple of numbers in a block."""
    for key, default in defaults.items():
        if isinstance(default, dict):
            yield from numbers(default, f"{at}{key}.")
        elif type(default) in (int, float) or (isinstance(default, tuple) and key not in TUPLES_OF_TEXT):
            yield f"{at}{key}", default


KEYS = [(key, default, config.RANGES, "config.") for key, default in numbers(config.TOP)] + [
    (key, default, config.STAGE_RANGES, "config.s.") for key, default in numbers(config.STAGE)
]
FIELDS = [
    (registry, name, field)
    for registry in (METHODS, SAMPLERS)
    for name, cls in registry.items()
    if cls.__module__.startswith("gcl_jax.")  # not what other tests registered
    for field in dataclasses.fields(cls)
    if type(field.default) in (int, float, tuple)
]


def made():
    return config.experiment(stages={"s": config.stage(config.method("cross_entropy"), config.sampler("instance"))})


def beyond(allowed, default):
    """Numbers just outside of a range, of the default's type."""
    low, high = allowed.ends
    if isinstance(default, int):
        return [int(low) - 1, int(high) + 1]
    return [math.nextafter(low, -math.inf), math.nextafter(high, math.inf)]


def within(allowed, default):
    """The ends of a range, or what is next to them where they are open, of the default's type."""
    low, high = allowed.ends
    if isinstance(default, int):
        return [int(low), int(high)]
    ends = [e if e in allowed else math.nextafter(e, (low + high) / 2) for e in (low, high)]
    return ends + ([] if allowed.apart is None else [allowed.apart])


COUNTS = np.array([100_000, 5000, 5000, 60, 1])


def usable(made):
    """What a method or sampler makes of class counts is finite, as float32 as well."""
    if isinstance(made, sampling.Sampler):
        np.testing.assert_allclose(made.class_probabilities(COUNTS).sum(), 1)
        assert len(made.indices(lambda *names: np.random.default_rng(0), np.repeat(np.arange(3), 5), 9)) == 9
    else:
        for array in made.constants(COUNTS).values():
            assert np.isfinite(np.float32(array)).all()


def refuse(value, where, block):
    """`config.check_block` of ``block``, whose number at ``where`` is ``value``, names it in one short line."""
    with pytest.raises(UserError, match=where.replace(".", r"\.")) as error:
        validation.validate(block)
    assert "\n" not in str(error.value), value
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(("key", "default", "allowed", "before"), KEYS, ids=[before + key for key, *_, before in KEYS])
def test_every_number_of_a_config_has_a_range(key, default, allowed, before):
    assert key in allowed, f"{before}{key}: declare its range in gcl_jax/config/keys.py"
    path, many = f"{before}{key}".removeprefix("config."), isinstance(default, tuple)
    one = 0.0 if many else default
    for value in within(allowed[key], one):
        ranges.check((value,) if many else value, default, allowed[key], key)
    whole = made().to_dict()
    for value in [*beyond(allowed[key], one), *ABSURD]:
        changed = copy.deepcopy(whole)
        *inside, last = path.split(".")
        block = changed
        for part in inside:
            block = block[part]
        block[last] = (value, value) if many else value
        refuse(value, f"{before}{key}", ConfigDict(changed))


@pytest.mark.parametrize(
    ("registry", "name", "field"), FIELDS, ids=[f"{name}.{field.name}" for _, name, field in FIELDS]
)
def test_every_number_of_every_method_and_sampler_has_a_range(registry, name, field):
    assert "range" in field.metadata, f"{registry[name].__name__}.{field.name}: declare it by ranged(default, range)"
    allowed = field.metadata["range"]
    for value in within(allowed, field.default):
        rest = {"b": 0.0} if field.name == "a" else {"a": max(-value, 0.0)} if field.name == "b" else {}
        usable(registry[name](**{field.name: value}, **rest))
    kind = "method" if registry is METHODS else "sampler"
    for value in [*beyond(allowed, field.default), *ABSURD]:
        with pytest.raises(UserError, match=rf"^{field.name} is ") as error:
            registry[name](**{field.name: value})
        assert "\n" not in str(error.value)
        whole = made().to_dict()
        whole["s"][kind] = (config.method if kind == "method" else config.sampler)(name) | {field.name: value}
        if name != "bbn":  # needs another network, which is asked for first
            refuse(value, f"config.s.{kind}.{field.name}", ConfigDict(whole))


def test_no_range_is_of_a_key_that_is_not_there():
    assert set(config.RANGES) == {key for key, _ in numbers(config.TOP)}
    assert set(config.STAGE_RANGES) == {key for key, _ in numbers(config.STAGE)}


@pytest.mark.parametrize("cls", [*METHODS.values(), *SAMPLERS.values()])
def test_every_default_lies_in_its_range(cls):
    ranges.check_fields(cls())


def test_the_longest_training_has_a_rate_for_every_epoch():
    most = int(config.STAGE_RANGES["epochs"].ends[1])
    for schedule in optim.schedules.PER_EPOCH:
        rates = optim.epoch_learning_rates(learning_rate=1000.0, schedule=schedule, epochs=most, warmup_percent=100.0)
        assert len(rates) == most
        assert np.isfinite(rates.astype(np.float32)).all()


def test_more_steps_than_are_counted_are_refused():
    """2,200 steps an epoch, a million epochs: each is fine."""
    labels = np.arange(2200, dtype=np.int32) % 2
    split = data.Split(np.zeros((2200, 2, 2, 1), np.uint8), labels)
    images = data.Dataset("zeros", {"train": split, "test": split}, ("a", "b"), np.arange(2200))
    whole = made()
    whole.s.update(epochs=1_000_000, batch_size=1)
    validation.validate(whole)
    with pytest.raises(UserError, match=r"^config\.s\.epochs is 1000000; at 2200 steps an epoch it must .* 976128$"):
        Stage(whole, "s", images, None, mesh.make_mesh())


@pytest.mark.parametrize("text", ["[0, 1", "0, 1", "[1]", "]0, 1[", "-1 or", "[a, b]", "[0,1]", ""])
def test_what_is_no_interval_is_a_defect(text):
    with pytest.raises(ValueError, match="is no interval"):
        Range(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[0, 1]", [0, 1, 0.5], [-1e-9, 1 + 1e-9, 10**400, math.nan]),
        ("(0, 1)", [1e-300, 1 - 1e-16], [0, 1]),
        ("(0, 1]", [1], [0]),
        ("-1 or [0, 1)", [-1, 0], [-0.5, 1, -2]),
        ("[1e-6, 1e4]", [1e-6, 10000], [9e-7, 10001]),
    ],
)
def test_an_interval_holds_what_mathematics_says(text, inside, outside):
    assert all(value in Range(text) for value in inside)
    assert not any(value in Range(text) for value in outside)


@dataclasses.dataclass(frozen=True)
class Outside:
    """Of a user, who has declared nothing."""

    weight: float = 1.0
    turns: int = 3
    sizes: tuple = (1.0, 2.0)


@pytest.mark.parametrize(
    "values", [dict(weight=1e31), dict(weight=math.nan), dict(turns=2**31), dict(turns=1.5), dict(sizes=(1.0, -0.0))]
)
def test_numbers_without_a_declared_range_fit_what_jax_computes_with(values):
    ranges.check_fields(Outside(weight=-1e30, turns=-(2**31), sizes=(1e30, 0)))
    with pytest.raises(UserError, match=r"(weight|turns|sizes) is"):
        ranges.check_fields(Outside(**values))
