"""LWS, MiSLAS's second stage and DisAlign, head, method and optimizer together, against their authors' code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error

from gcl_jax import losses, methods, optim
from gcl_jax.methods import ClassInfo, StepInfo
from gcl_jax.models import HEADS
from gcl_jax.models.norm import BatchNorm

NOW = StepInfo.at(jnp.int32(0), epochs=1, steps_per_epoch=1, learning_rate=jnp.float32(0))


def stats_of(method, counts):
    return ClassInfo(jnp.asarray(counts), {k: jnp.asarray(v, jnp.float32) for k, v in method.constants(counts).items()})


def out_of(head, params, features):
    found = HEADS[head](num_classes=params["kernel"].shape[1]).apply({"params": params}, features)
    return {"features": features} | (found if isinstance(found, dict) else {"scores": found})


def value_and_grads(method, head, params, features, labels, counts):
    """Loss and its gradients by parameter, through head and method."""

    def objective(params):
        terms = method.loss(jax.random.key(0), out_of(head, params, features), {"label": labels}, NOW,
                            stats_of(method, counts))  # fmt: skip
        return losses.weighted_mean(terms.per_example, terms.weight)

    return jax.value_and_grad(objective)(params)


def assert_close(ours, theirs, bound=1e-5):
    assert relative_error(ours, theirs) <= bound


def train(method, head, params, steps, counts, rates, *, trainable, lr_mult=(), decay, momentum=0.9):
    """SGD under a stage's rules at ``rates``, one a step; yields (loss before, parameters after) of each."""
    params = {"head": jax.tree.map(jnp.asarray, params)}
    labels, groups = optim.param_groups(params, trainable=trainable, lr_mult=lr_mult)
    optimizer = optim.make_optimizer(optim.SGD(momentum), labels, groups, weight_decay=decay)
    state = optimizer.init(params)
    for (features, target), rate in zip(steps, rates, strict=True):

        def objective(params, features=features, target=target):
            terms = method.loss(
                jax.random.key(0), out_of(head, params["head"], features), {"label": target}, NOW,
                stats_of(method, counts),
            )  # fmt: skip
            return losses.weighted_mean(terms.per_example, terms.weight)

        value, grads = jax.value_and_grad(objective)(params)
        updates, state = optimizer.update(grads, state, params, learning_rate=jnp.float32(rate))
        params = optim.apply_updates(params, updates, labels)
        yield value, params["head"]


# label-aware smoothing of the configuration that the values were computed with: (head, tail, classifier's factor)
MISLAS = {"cifar10": (0.3, 0.0, 0.5), "cifar100": (0.4, 0.1, 0.2)}


def mislas(dataset):
    head, tail, _ = MISLAS[dataset]
    return methods.MiSLAS(smoothing_head=head, smoothing_tail=tail)


@pytest.mark.parametrize("dataset", MISLAS)
def test_learnable_weight_scaling_with_smoothing(mislas_disalign, dataset):
    theirs, counts = Family(mislas_disalign, f"mislas/lws/{dataset}/"), mislas_disalign[f"counts/{dataset}"]
    params = {"kernel": theirs["W"].T, "bias": theirs["b"], "scale": theirs["s"]}
    features, labels = theirs["features"], jnp.asarray(theirs["labels"])
    method = mislas(dataset)
    assert_close(method.logits(out_of("linear_lws", params, features)), theirs["logits"])
    value, grads = value_and_grads(method, "linear_lws", params, features, labels, counts)
    assert_close(value, theirs["value"])
    assert_close(grads["kernel"].T, theirs["grad_W"])
    assert_close(grads["bias"], theirs["grad_b"])
    assert_close(grads["scale"], theirs["grad_s"])
    assert not theirs.unread()


@pytest.mark.parametrize("dataset", MISLAS)
def test_mislas_second_stage(mislas_disalign, dataset):
    """Ten epochs of the same five batches: rates by group, decay on everything, momentum over epochs."""
    theirs, counts = Family(mislas_disalign, f"mislas/stage2/{dataset}/"), mislas_disalign[f"counts/{dataset}"]
    method = mislas(dataset)
    rates = theirs["lr"]
    factor = MISLAS[dataset][2]
    np.testing.assert_allclose(rates[:, 0], rates[:, 1] * factor, rtol=1e-6)
    params = {"kernel": theirs["W0"].T, "bias": theirs["b0"], "scale": jnp.ones(len(counts))}
    steps = list(zip(theirs["features"], map(jnp.asarray, theirs["labels"]), strict=True)) * 10
    decay = float(mislas_disalign[f"mislas/schedule/{dataset}_if100/weight_decay_stage1_stage2"][1])
    found = list(
        train(method, "linear_lws", params, steps, counts, np.repeat(rates[:, 1], 5), trainable=method.trainable,
              lr_mult=[("head/(kernel|bias)$", factor)], decay=decay)
    )  # fmt: skip
    values = np.array([value for value, _ in found]).reshape(10, 5)
    assert_close(values[0], theirs["losses"])
    assert_close(values, theirs["losses_ten_epochs"], 1e-4)
    for step in (5, 50):
        params, bound = found[step - 1][1], 1e-5 if step == 5 else 1e-4
        assert_close(params["kernel"].T, theirs[f"after{step}/W"], bound)
        assert_close(params["bias"], theirs[f"after{step}/b"], bound)
        assert_close(params["scale"], theirs[f"after{step}/s"], bound)
    labels = jnp.asarray(theirs["eval_labels"])
    for epoch in range(10):
        logits = method.logits(out_of("linear_lws", found[5 * epoch + 4][1], theirs["eval_features"]))
        ours = losses.label_aware_smoothing(logits, labels, stats_of(method, counts).constants["smoothing"]).mean()
        plain = losses.cross_entropy(logits, labels).mean()
        assert min(relative_error(v, theirs["eval_losses"][epoch]) for v in (ours, plain)) <= 1e-4
        top1 = float((logits.argmax(1) == labels).mean())
        assert min(abs(theirs["eval_top1"][epoch] - v) for v in (top1, 100 * top1)) <= 1e-4
    assert not theirs.unread()


@pytest.mark.parametrize("mode", ["shift", "noshift"])
def test_shifted_batch_norm(mislas_disalign, mode):
    """bn = "stats_only" (shift) and "frozen" (no shift): features, and running statistics after each batch."""
    theirs = Family(mislas_disalign, f"mislas/shift_bn/{mode}/")
    given = Family(mislas_disalign, "mislas/shift_bn/")
    norms = {name: BatchNorm() for name in ("bn1", "bn2")}
    params = {n: {"scale": given[f"init/{n}.weight"], "bias": given[f"init/{n}.bias"]} for n in norms}
    stats = {n: {"mean": given[f"init/{n}.running_mean"], "var": given[f"init/{n}.running_var"]} for n in norms}

    def forward(x, stats, train):
        moved = {}
        for i, name in enumerate(norms, 1):
            kernel = given[f"init/conv{i}.weight"].transpose(2, 3, 1, 0)
            x = jax.lax.conv_general_dilated(
                x, kernel, (i, i), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            variables = {"params": params[name], "batch_stats": stats[name]}
            x, new = norms[name].apply(variables, x, train=train, mutable=["batch_stats"])
            x, moved[name] = jax.nn.relu(x), new.get("batch_stats", stats[name])
        return x.mean((1, 2)), moved

    for batch in range(3):
        images = given["images_nchw"][batch].transpose(0, 2, 3, 1)
        features, stats = forward(images, stats, mode == "shift")
        assert_close(features, theirs["features"][batch])
        for name in norms:
            assert_close(stats[name]["mean"], theirs[f"{name}.running_mean"][batch])
            assert_close(stats[name]["var"], theirs[f"{name}.running_var"][batch])
            assert theirs[f"{name}.num_batches_tracked"][batch] == (batch + 1 if mode == "shift" else 0)
    assert_close(
        forward(given["images_nchw"][0].transpose(0, 2, 3, 1), stats, False)[0], theirs["eval_features_after3"]
    )
    assert not theirs.unread()


def disalign_params(theirs, a=None, b=None, v=None, v0=None):
    params = {
        "kernel": theirs["W"].T,
        "magnitude": theirs["a"] if a is None else a,
        "margin": theirs["b"] if b is None else b,
        "confidence_kernel": theirs["v"] if v is None else v,
        "confidence_bias": theirs["v0"] if v0 is None else v0,
    }
    return params | ({"bias": theirs["b_fc"]} if "b_fc" in theirs.values else {})


def assert_disalign_grads(grads, theirs, prefix=""):
    for ours, name in (("magnitude", "a"), ("margin", "b"), ("confidence_kernel", "v"), ("confidence_bias", "v0")):
        assert_close(grads[ours], theirs[f"{prefix}grad_{name}"])


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_disalign_as_published(mislas_disalign, kind, dataset):
    theirs, counts = Family(mislas_disalign, f"disalign/cls_{kind}/{dataset}/"), mislas_disalign[f"counts/{dataset}"]
    scale = float(theirs["cosine_scale"]) if kind == "cosine" else 1.0
    method, head = methods.DisAlign(form="published", rho=1.2, scale=scale), f"{kind}_disalign"
    features, labels = theirs["features"], jnp.asarray(theirs["labels"])
    classes, dim = theirs["W"].shape
    fresh = disalign_params(theirs, np.ones(classes), np.zeros(classes), np.full(dim, 0.1))
    assert_close(method.logits(out_of(head, fresh, features)), theirs["logits_at_init_a1_b0_v0.1"])
    params = disalign_params(theirs)
    logits = method.logits(out_of(head, params, features))
    assert_close(logits, theirs["logits"])
    value, grads = value_and_grads(method, head, params, features, labels, counts)
    assert_close(value, theirs["value_rho1.2"])
    assert_disalign_grads(grads, theirs)
    weight = stats_of(method, counts).constants["class_weight"][labels]
    of_logits = jax.grad(lambda z: losses.weighted_mean(losses.cross_entropy(z, labels), weight))(logits)
    assert_close(of_logits, theirs["grad_logits"])
    assert not theirs.unread()


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_disalign_as_in_the_paper(mislas_disalign, dataset):
    theirs, counts = Family(mislas_disalign, f"disalign/paper_form/{dataset}/"), mislas_disalign[f"counts/{dataset}"]
    features, labels, params = theirs["features"], jnp.asarray(theirs["labels"]), disalign_params(theirs)
    for rho in (1.2, 0.3):
        method = methods.DisAlign(form="paper", rho=rho)
        assert_close(method.logits(out_of("linear_disalign", params, features)), theirs["logits"])
        value, grads = value_and_grads(method, "linear_disalign", params, features, labels, counts)
        assert_close(value, theirs[f"rho{rho}/value"])
        assert_disalign_grads(grads, theirs, f"rho{rho}/")
    assert not theirs.unread()


def test_disalign_second_stage(mislas_disalign):
    """Six steps: what is frozen stays, what is calibrated is decayed, a = 1 towards 0 too."""
    theirs = Family(mislas_disalign, "disalign/stage2/")
    counts = mislas_disalign["counts/cifar10"]
    method = next(
        m for m in (methods.DisAlign(form="published", rho=rho) for rho in (1.2, 0.3))
        if relative_error(m.constants(counts)["class_weight"], theirs["grw_weight"]) <= 1e-5
    )  # fmt: skip
    recipe = theirs["lr_weight_decay_momentum"]
    params = {
        "kernel": theirs["W"].T, "bias": theirs["b_fc"], "magnitude": jnp.ones(10), "margin": jnp.zeros(10),
        "confidence_kernel": jnp.full(16, 0.1), "confidence_bias": jnp.asarray(theirs["v0"]),
    }  # fmt: skip
    steps = list(zip(theirs["features"], map(jnp.asarray, theirs["labels"]), strict=True))
    found = list(
        train(
            method,
            "linear_disalign",
            params,
            steps,
            counts,
            theirs["lr"],
            trainable=method.trainable,
            decay=float(recipe[0, 1]),
            momentum=float(recipe[0, 2]),
        )
    )
    assert_close(np.array([value for value, _ in found]), theirs["losses"], 1e-4)
    last = found[-1][1]
    for ours, name in (("magnitude", "a"), ("margin", "b"), ("confidence_kernel", "v"), ("confidence_bias", "v0")):
        assert_close(last[ours], theirs[f"after6/{name}"], 1e-4)
    np.testing.assert_array_equal(last["kernel"], theirs["W"].T)
    assert not theirs.unread()


def test_disalign_in_the_papers_form_is_the_identity_without_confidence():
    """At sigma = 0 whatever a and b are, and at a = 1, b = 0 whatever sigma is: how a stage starts."""
    z = jax.random.normal(jax.random.key(0), (4, 3))
    ones, method = jnp.ones(3), methods.DisAlign()
    out = {"scores": z, "confidence": jnp.zeros(4), "magnitude": 5 * ones, "margin": 7 * ones}
    np.testing.assert_array_equal(method.logits(out), z)
    out = {"scores": z, "confidence": jnp.full(4, 0.6), "magnitude": ones, "margin": 0 * ones}
    np.testing.assert_allclose(method.logits(out), z, rtol=1e-6)


def test_decoupling_lws(oltr_decoupling):
    """Only the scales train; the classifier below them is neither moved nor decayed."""
    theirs = Family(oltr_decoupling, "dec/lws/")
    method = methods.CrossEntropy()
    params = {"kernel": theirs["weight"].T, "bias": theirs["bias"], "scale": theirs["scales"]}
    x, labels = theirs["x"], jnp.asarray(theirs["label"])
    assert_close(method.logits(out_of("linear_lws", params, x)), theirs["logits"])
    value, grads = value_and_grads(method, "linear_lws", params, x, labels, np.ones(10))
    assert_close(value, theirs["ce"])
    assert_close(grads["scale"], theirs["grad_scales"])
    of_x = jax.grad(lambda x: losses.cross_entropy(method.logits(out_of("linear_lws", params, x)), labels).mean())(x)
    assert_close(of_x, theirs["grad_x"])
    labels_of = optim.param_groups({"head": params}, trainable="head/scale")[0]["head"]
    ours = {"scales": "scale", "fc.weight": "kernel", "fc.bias": "bias"}
    for name, flag in zip(theirs["param_names"], theirs["param_trained"], strict=True):
        assert (labels_of[ours[str(name)]] != optim.FROZEN) == bool(flag)
    assert theirs["fc_grads_are_none"] == 1
    fresh = HEADS["linear_lws"](num_classes=10).init(jax.random.key(0), x)["params"]["scale"]
    np.testing.assert_array_equal(fresh, theirs["init_scales"])
    rate, momentum, decay = map(float, theirs["steps/lr_momentum_wd"])
    steps = list(zip(theirs["steps/x"], map(jnp.asarray, theirs["steps/label"]), strict=True))
    starts = {"given": params, "fresh": params | {"scale": jnp.ones(10)}}
    runs = {
        name: [p["scale"] for _, p in train(method, "linear_lws", start, steps, np.ones(10), [rate] * 3,
                                            trainable="head/scale", decay=decay, momentum=momentum)]
        for name, start in starts.items()
    }  # fmt: skip
    assert min(relative_error(np.stack(found), theirs["steps/scales_after"]) for found in runs.values()) <= 1e-5
    assert not theirs.unread()
