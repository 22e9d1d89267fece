"""Which parameters train: rules on paths, what they leave frozen to the last bit, and what they cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import load_config, override

from gcl_jax import optim
from gcl_jax.errors import UserError
from gcl_jax.training import starts

PARAMS = {
    "backbone": {"conv1": {"kernel": jnp.ones((2, 2))}, "bn1": {"scale": jnp.ones(2), "bias": -jnp.zeros(2)}},
    "head": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)},
}


def test_first_rule_that_matches_wins_and_none_is_frozen():
    labels = optim.label_params(PARAMS, [("head/bias", "bias"), ("head/", "head"), ("backbone/conv", "conv")])
    assert labels == {
        "backbone": {"conv1": {"kernel": "conv"}, "bn1": {"scale": "frozen", "bias": "frozen"}},
        "head": {"kernel": "head", "bias": "bias"},
    }


@pytest.mark.parametrize("regex", ["haed/", "conv1", "head/kernel/", "backbone/layer1_0/", "HEAD/"])
def test_a_rule_that_matches_nothing_is_an_error(regex):
    with pytest.raises(UserError, match="matches no parameter; there are 5: backbone/conv1/kernel, "):
        optim.label_params(PARAMS, [(".*", "all"), (regex, "more")])


@pytest.mark.parametrize(
    "rule",
    ["backbone/", "=0.1", "backbone/=x", "backbone/=-1", "backbone/=nan", "(=0.1", "a=inf", "a{99999999999}=1",
     "(" * 5000 + ")" * 5000 + "=1", "x" * 5000],
)  # fmt: skip
def test_a_rule_that_is_none_is_named(rule):
    with pytest.raises(UserError, match=r"^lr_mult(: .* is no regular expression: | has )") as error:
        optim.parse_rules((rule,), "lr_mult")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("kind", ["lr_mult", "weight_decay"])
@pytest.mark.parametrize(
    ("trainable", "rules", "told"),
    [
        ("head/", [("backbone/", 0.1)], r"'backbone/=0.1' changes nothing: what it matches is frozen"),
        ("head/kernel", [("head/k", 2.0), ("head/bias", 0.0)], r"'head/bias=0' changes nothing: .* is frozen"),
        (".*", [("head/", 0.1), ("head/bias", 2.0)], r"'head/bias=2' changes nothing: .* a rule before it counts"),
        (".*", [("head/", 0.1), ("head/", 0.1)], r"'head/=0.1' changes nothing: .* a rule before it counts"),
        (".*", [(".*", 1.0), ("backbone/conv1", 2.0)], r"'backbone/conv1=2' changes nothing: .* a rule before"),
    ],
)
def test_a_rule_that_counts_for_nothing_that_trains_is_an_error(trainable, rules, told, kind):
    with pytest.raises(UserError, match=told):
        optim.param_groups(PARAMS, trainable=trainable, **{kind: rules})


def test_groups_are_the_pairs_of_multiplier_and_decay():
    labels, groups = optim.param_groups(
        PARAMS,
        trainable=".*",
        lr_mult=[("backbone/", 0.1)],
        weight_decay=[(".*(bias|scale)$", 0.0)],
        frozen=["head/bias"],
    )
    assert labels["head"]["bias"] == "frozen"
    assert groups[labels["head"]["kernel"]] == optim.ParamGroup(1.0, None)
    assert groups[labels["backbone"]["conv1"]["kernel"]] == optim.ParamGroup(0.1, None)
    assert groups[labels["backbone"]["bn1"]["scale"]] == optim.ParamGroup(0.1, 0.0)
    assert labels["backbone"]["bn1"]["scale"] == labels["backbone"]["bn1"]["bias"]
    assert len(groups) == 3


@pytest.mark.parametrize(
    "optimizer", [optim.SGD(nesterov=True), optim.AdamW(), optim.LAMB()], ids=lambda o: type(o).__name__
)
def test_not_a_bit_of_what_is_frozen_changes(optimizer):
    """With momentum, decay and clipping on, and gradients everywhere; -0.0 stays -0.0, and NaN NaN."""
    params = {**PARAMS, "extra": {"w": jnp.array([jnp.nan, jnp.inf, -0.0, 1e-42])}}
    labels, groups = optim.param_groups(params, trainable="head/")
    tx = optim.make_optimizer(optimizer, labels, groups, weight_decay=0.1, clip_norm=1.0)
    state, now = tx.init(params), params
    for _ in range(3):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, now, learning_rate=0.5)
        now = optim.apply_updates(now, updates, labels)
    for part in ("backbone", "extra"):
        for before, after in zip(jax.tree.leaves(params[part]), jax.tree.leaves(now[part]), strict=True):
            assert np.asarray(before).tobytes() == np.asarray(after).tobytes()
    assert not np.array_equal(now["head"]["kernel"], params["head"]["kernel"])
    sizes = sum(leaf.size for leaf in jax.tree.leaves(state) if jnp.ndim(leaf))
    assert sizes in (9, 18)  # momentum, or two moments, of the head alone


def test_clipping_reads_what_trains_alone():
    labels, groups = optim.param_groups(PARAMS, trainable="head/")
    tx = optim.make_optimizer(optim.SGD(0.0), labels, groups, clip_norm=1.0)
    grads = {
        **jax.tree.map(lambda x: 1e6 * jnp.ones_like(x), PARAMS),
        "head": jax.tree.map(jnp.ones_like, PARAMS["head"]),
    }
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS, learning_rate=1.0)
    np.testing.assert_allclose(updates["head"]["kernel"], -np.ones((2, 3)) / 3, rtol=1e-6)  # 9 ones: norm 3


def test_no_gradient_is_computed_for_what_is_frozen():
    """Not even where something reads the whole gradient, which brings back what masks alone had removed."""
    labels, _ = optim.param_groups({"a": jnp.ones(()), "b": jnp.ones(())}, trainable="b")
    weights, x = {"a": jnp.ones((64, 64)), "b": jnp.ones((64, 64))}, jnp.ones((8, 64))

    def flops(stop):
        def loss(params):
            params = optim.stop_frozen(params, labels) if stop else params
            return jnp.sum(jnp.tanh(x @ params["a"]) @ params["b"])

        def norm(params):
            return sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(jax.grad(loss)(params)))

        return jax.jit(norm).lower(weights).compile().cost_analysis()["flops"]

    assert flops(stop=True) < 0.75 * flops(stop=False)


@pytest.mark.parametrize(
    ("config", "stage", "values", "told"),
    [
        ("gcl", "classifier", {"restore": "nothing"}, r"restore is 'nothing', which matches no parameter"),
        ("gcl", "classifier", {"restore": "head/"}, r"restore is 'head/', which leaves out backbone/bn1/bias"),
        ("gcl", "classifier", {"restore": "backbone/conv"}, r"leaves out backbone/bn1/bias: it is frozen"),
        ("gcl", "classifier", {"restore": r"backbone/(?!layer3_0/conv2)"}, r"leaves out backbone/layer3_0/conv2/ke"),
        ("crt", "classifier", {"restore": "backbone/", "trainable": "head/bias"}, r"leaves out head/kernel"),
        (
            "gcl", "classifier", {"restore": r"backbone/.*(kernel|bias|scale)$", "bn": "frozen"},
            r"leaves out backbone/bn1/mean",
        ),
        ("gcl", "representation", {"restore": "bacbone/"}, r"representation\.restore is 'bacbone/', which matches no"),
    ],
)  # fmt: skip
def test_nothing_frozen_stays_random(config, stage, values, told):
    config = override(load_config(f"digits_lt:{config}"), {f"{stage}.{key}": x for key, x in values.items()})
    with pytest.raises(UserError, match=told):
        starts.check_labels(config, config.stages)


@pytest.mark.parametrize(
    "values", [{"trainable": ".*", "restore": ".*/(mean|var)$"}, {"restore": ".*"}, {"restore": ""}]
)
def test_what_trains_may_start_anew(values):
    config = override(load_config("digits_lt:gcl"), {f"classifier.{key}": x for key, x in values.items()})
    starts.check_labels(config, config.stages)
