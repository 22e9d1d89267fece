"""SGD against torch's and a plain loop; learning-rate schedules against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import relative_error

from gcl_jax import config as config_lib
from gcl_jax import optim
from gcl_jax.errors import UserError
from gcl_jax.optim import ParamGroup

REFERENCE_WEIGHT_DECAY = 5e-4  # not stored beside torch/sgd/*: the one round value that gives its parameters


def run(optimizer, params, grads, rates):
    """Parameters after each step, as a list of trees."""
    state, found = optimizer.init(params), []
    update = jax.jit(lambda grad, state, params, rate: optimizer.update(grad, state, params, learning_rate=rate))
    for grad, rate in zip(grads, rates, strict=False):
        updates, state = update(grad, state, params, rate)
        params = optax.apply_updates(params, updates)
        found.append(params)
    return found


@pytest.mark.parametrize("nesterov", [False, True], ids=["plain", "nesterov"])
@pytest.mark.parametrize("rates", ["constant_lr", "lr_drop"])
def test_sgd_is_torchs(losses_contrastive, nesterov, rates):
    at = f"torch/sgd/{'nesterov' if nesterov else 'plain'}/{rates}"
    optimizer = optim.make_optimizer(
        optim.SGD(nesterov=nesterov), {"w": "head"}, {"head": ParamGroup()}, weight_decay=REFERENCE_WEIGHT_DECAY
    )
    start = {"w": jnp.asarray(losses_contrastive["torch/sgd/param0"])}
    grads = [{"w": jnp.asarray(g)} for g in losses_contrastive["torch/sgd/grads"]]
    steps = run(optimizer, start, grads, losses_contrastive[f"{at}/lr"].astype(np.float32))
    assert relative_error([p["w"] for p in steps], losses_contrastive[f"{at}/params"]) <= 1e-5


PATHS = {("backbone", "conv"): "backbone", ("head", "kernel"): "head", ("head", "bias"): "head"}
GROUPS = {"backbone": ParamGroup(), "head": ParamGroup(lr_mult=0.2, weight_decay=0.0)}
RATES = [0.1, 0.1, 0.01, 0.001]


def nest(flat):
    tree = {}
    for (top, leaf), value in flat.items():
        tree.setdefault(top, {})[leaf] = value
    return tree


def problem(num=4, size=1.0):
    """(start, gradients of each step), float64 arrays by path."""
    random = np.random.default_rng(0)
    make = lambda: {path: size * random.normal(size=(3, 2)) for path in PATHS}  # noqa: E731
    return make(), [make() for _ in range(num)]


def by_hand(start, grads, *, groups, momentum=0.9, nesterov=False, weight_decay=0.0, clip_norm=0.0):
    """torch.optim.SGD with one parameter group each, after clipping the gradient as a whole."""
    w, v = dict(start), {path: 0.0 for path in start}
    for rate, grad in zip(RATES, grads, strict=True):
        norm = sum((g**2).sum() for g in grad.values()) ** 0.5
        shrink = clip_norm / norm if clip_norm and norm > clip_norm else 1.0
        for path, g in grad.items():
            group = groups[PATHS[path]]
            decay = weight_decay if group.weight_decay is None else group.weight_decay
            d = shrink * g + decay * w[path]
            v[path] = momentum * v[path] + d
            w[path] = w[path] - group.lr_mult * rate * (d + momentum * v[path] if nesterov else v[path])
    return w


def check_against_loop(groups=GROUPS, size=1.0, **hyper):
    start, grads = problem(size=size)
    with jax.enable_x64(True):
        as_jax = [jax.tree.map(jnp.asarray, nest(tree)) for tree in (start, *grads)]
        sgd = optim.SGD(hyper.get("momentum", 0.9), hyper.get("nesterov", False))
        others = {name: hyper[name] for name in ("weight_decay", "clip_norm") if name in hyper}
        optimizer = optim.make_optimizer(sgd, nest(PATHS), groups, **others)
        found = run(optimizer, as_jax[0], as_jax[1:], RATES)[-1]
    expected = by_hand(start, grads, groups=groups, **hyper)
    for (top, leaf), value in expected.items():
        assert relative_error(found[top][leaf], value) <= 1e-12, (top, leaf)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_groups_have_their_own_rate_and_decay(momentum, nesterov):
    check_against_loop(momentum=momentum, nesterov=nesterov, weight_decay=0.01)


def test_group_without_decay_of_its_own_takes_the_stages():
    check_against_loop(
        groups={"backbone": ParamGroup(weight_decay=0.1), "head": ParamGroup(lr_mult=3.0)}, weight_decay=0.01
    )


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0], ids=["below", "above", "far_above"])
def test_clipping_is_by_the_norm_over_all_groups_before_decay(size):
    check_against_loop(size=size, weight_decay=0.01, clip_norm=1.0)


def test_zero_rate_factor_freezes_a_group():
    start, grads = problem()
    trees = [jax.tree.map(jnp.float32, nest(tree)) for tree in (start, *grads)]
    groups = {"backbone": ParamGroup(lr_mult=0.0), "head": ParamGroup()}
    found = run(optim.make_optimizer(optim.SGD(), nest(PATHS), groups, weight_decay=0.01), trees[0], trees[1:], RATES)[
        -1
    ]
    assert jnp.array_equal(found["backbone"]["conv"], trees[0]["backbone"]["conv"])
    assert not jnp.array_equal(found["head"]["kernel"], trees[0]["head"]["kernel"])


def test_unknown_group_is_refused_and_named():
    with pytest.raises(UserError, match="labeled 'neck'"):
        optim.make_optimizer(optim.SGD(), {"a": {"b": "neck"}}, GROUPS)


def rates(**fields):
    return optim.epoch_learning_rates(**({"learning_rate": 0.1, "schedule": "step", "epochs": 20} | fields))


LDAM = {"warmup_percent": 2.5, "boundaries_percent": (80.0, 90.0), "decay_factors": (0.1, 0.01)}


def test_short_step_schedule_keeps_one_warmup_epoch_and_both_drops():
    expected = [0.1] * 16 + [0.01] * 2 + [0.001] * 2
    np.testing.assert_allclose(rates(**LDAM), expected, rtol=1e-12)


@pytest.mark.parametrize(("epochs", "warmup"), [(200, 5), (199, 5), (201, 6), (90, 3), (40, 1), (41, 2), (1, 1)])
def test_warmup_is_rounded_up_and_rises_linearly(epochs, warmup):
    found = rates(epochs=epochs, schedule="constant", warmup_percent=2.5)
    expected = [0.1 * min(e / warmup, 1) for e in range(1, epochs + 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ldam_schedule_of_the_reference(losses_contrastive):
    found = rates(epochs=200, warmup_percent=2.5, boundaries_percent=(80.0, 90.0), decay_factors=(0.01, 1e-4))
    assert relative_error(found, losses_contrastive["ldam/schedule/lr_200_epochs"]) <= 1e-5
    # The drop is a factor of 10^4: the last rates hardly count in the measure above.
    np.testing.assert_allclose(found, losses_contrastive["ldam/schedule/lr_200_epochs"], rtol=1e-5)


def test_drop_comes_after_the_boundary_epoch():
    found = rates(epochs=90, boundaries_percent=(200 / 3, 800 / 9), decay_factors=(0.1, 0.01))
    assert (np.flatnonzero(np.diff(found)) + 1).tolist() == [60, 80]


def test_boundary_in_rounded_percent_stays_on_its_epoch():
    found = rates(epochs=1241, boundaries_percent=(48.67,), decay_factors=(0.1,))
    assert (np.flatnonzero(np.diff(found)) + 1).tolist() == [603]


@pytest.mark.parametrize("epochs", [1, 2, 30, 90])
def test_cosine_starts_at_the_full_rate_and_ends_just_above_zero(epochs):
    found = rates(schedule="cosine", epochs=epochs)
    assert found[0] == 0.1
    np.testing.assert_allclose(found[-1], 0.05 * (1 - np.cos(np.pi / epochs)), rtol=1e-9)


def test_cosine_is_half_way_down_in_the_middle():
    assert rates(schedule="cosine", epochs=30)[15] == pytest.approx(0.05)


def test_constant_rate():
    assert rates(schedule="constant").tolist() == [0.1] * 20


@pytest.mark.parametrize("schedule", ["step", "cosine", "constant"])
@pytest.mark.parametrize("epochs", [1, 7])
def test_one_rate_for_each_epoch_and_all_positive(schedule, epochs):
    found = rates(schedule=schedule, epochs=epochs, **LDAM)
    assert found.shape == (epochs,)
    assert found.min() > 0


def test_unpaired_boundaries_are_refused():
    with pytest.raises(UserError, match="boundaries_percent has 2 entries and decay_factors 1"):
        rates(boundaries_percent=(80.0, 90.0), decay_factors=(0.1,))


@pytest.mark.parametrize("boundaries", [(90.0, 80.0), (-1.0, 90.0), (80.0, 101.0), (float("nan"), 90.0)])
def test_boundaries_must_rise_within_the_stage(boundaries):
    with pytest.raises(UserError, match="boundaries_percent"):
        rates(boundaries_percent=boundaries, decay_factors=(0.1, 0.01))


@pytest.mark.parametrize("warmup", [-1.0, 101.0, float("nan")])
def test_impossible_warmup_is_refused(warmup):
    with pytest.raises(UserError, match="warmup_percent"):
        rates(warmup_percent=warmup)


def test_unknown_schedule_is_refused():
    with pytest.raises(UserError, match=r"schedule is 'linear'.*step.*cosine.*constant"):
        rates(schedule="linear")


def test_linear_scaling_is_off_by_default_and_proportional():
    """Goyal et al. 2017: the rate grows with the batch; schedule and warm-up keep their shape."""
    plain = config_lib.stage(config_lib.method("gcl"), config_lib.sampler("instance"), epochs=10, batch_size=256)
    scaled = config_lib.stage(
        config_lib.method("gcl"), config_lib.sampler("instance"), epochs=10, batch_size=256,
        optimizer=config_lib.optimizer(reference_batch_size=64),
    )  # fmt: skip
    rates = [optim.epoch_learning_rates(**config_lib.schedule_fields(block)) for block in (plain, scaled)]
    np.testing.assert_allclose(rates[0][0], 0.1)
    np.testing.assert_allclose(rates[1], 4 * rates[0])
