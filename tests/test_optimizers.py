"""AdamW and LAMB against plain loops, the schedule by step against its formula, and keys of another optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gcl_jax import config as config_lib
from gcl_jax import optim
from gcl_jax.errors import UserError
from gcl_jax.registry import Registry

RATES = (0.1, 0.05, 0.2)


def steps_of(optimizer, params, grads, weight_decay):
    labels, groups = optim.param_groups(params, trainable=".*")
    tx = optim.make_optimizer(optimizer, labels, groups, weight_decay=weight_decay)
    state = tx.init(params)
    for grad, rate in zip(grads, RATES, strict=True):
        updates, state = tx.update(grad, state, params, learning_rate=rate)
        params = optim.apply_updates(params, updates, labels)
    return params


def by_hand(w, grads, *, decay, trust):
    """Loshchilov and Hutter 2019, algorithm 2, decay by the rate; You et al. 2020 with ``trust``."""
    m = v = 0.0
    for step, (g, rate) in enumerate(zip(grads, RATES, strict=True), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        u = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8) + decay * w
        w = w - rate * (np.linalg.norm(w) / np.linalg.norm(u) if trust else 1.0) * u
    return w


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", [optim.AdamW(), optim.LAMB()], ids=["adamw", "lamb"])
def test_adam_with_decoupled_decay_of_matrices_alone(optimizer, weight_decay):
    random = np.random.default_rng(0)
    tree = lambda: {"kernel": random.normal(size=(3, 2)), "bias": random.normal(size=2)}  # noqa: E731
    start, grads = tree(), [tree() for _ in RATES]
    with jax.enable_x64(True):
        found = steps_of(optimizer, jax.tree.map(jnp.asarray, start), grads, weight_decay)
    for name, decay in (("kernel", weight_decay), ("bias", 0.0)):
        expected = by_hand(start[name], [g[name] for g in grads], decay=decay, trust=isinstance(optimizer, optim.LAMB))
        np.testing.assert_allclose(found[name], expected, rtol=1e-9)


def test_the_schedule_by_step_warms_up_and_falls_along_a_cosine():
    fields = optim.ScheduleFields(0.2, epochs=10, steps_per_epoch=10, warmup_percent=10.0, warmup_start=0.1)
    schedule = optim.make_schedule("cosine_by_step", fields)
    found = np.array([float(schedule(step)) for step in range(101)])
    rise = 0.02 + (0.2 - 0.02) * np.arange(10) / 10
    fall = 0.1 * (1 + np.cos(np.pi * np.arange(91) / 90))
    np.testing.assert_allclose(found, np.concatenate([rise, fall]), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("schedule", list(optim.SCHEDULES))
@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0.0), (1, 100.0), (3, 50.0)])
def test_every_schedule_is_traced_finite_and_positive(schedule, epochs, warmup):
    fields = optim.ScheduleFields(0.1, epochs=epochs, steps_per_epoch=7, warmup_percent=warmup)
    found = jax.vmap(optim.make_schedule(schedule, fields))(jnp.arange(epochs * 7))
    assert found.dtype == jnp.float32
    assert np.isfinite(found).all()
    assert (np.asarray(found) >= 0).all()


def test_schedules_by_epoch_are_their_tables():
    fields = optim.ScheduleFields(0.1, epochs=20, steps_per_epoch=3, warmup_percent=10.0)
    table = optim.epoch_learning_rates(learning_rate=0.1, schedule="cosine", epochs=20, warmup_percent=10.0)
    found = jax.vmap(optim.make_schedule("cosine", fields))(jnp.arange(60))
    np.testing.assert_array_equal(found, np.repeat(table.astype(np.float32), 3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(name="sgd", beta1=0.8), "optimizer.beta1 is 0.8, but sgd has no beta1"),
        (dict(name="adamw", momentum=0.5), "optimizer.momentum is 0.5, but adamw has no momentum"),
        (dict(name="lamb", nesterov=True), "optimizer.nesterov is True, but lamb has no nesterov"),
        (dict(name="adam"), "optimizer.name is 'adam' .did you mean 'adamw'"),
        (dict(name="adamw", beta2=1.0), "optimizer.beta2 is 1.0; it must be in"),
        (dict(name="adamw", eps=0.0), "optimizer.eps is 0.0; it must be in"),
    ],
)
def test_what_another_optimizer_reads_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        config_lib.build_optimizer(config_lib.optimizer(**fields))


def test_a_registry_takes_a_name_once_but_the_same_file_twice():
    numbers = Registry("number", {"one": 1})
    numbers.register("two", dict)
    numbers.register("two", dict)
    with pytest.raises(UserError, match="the number 'two' is registered already"):
        numbers.register("two", list)
    with pytest.raises(UserError, match="the number 'one' is registered already"):
        numbers.register("one", 2)
    assert numbers == {"one": 1, "two": dict}
