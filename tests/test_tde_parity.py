"""De-confound-TDE against values of its authors' code: every key of bbn_tde.npz that concerns it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error
from tiny import load_config
from two_branches import DATASETS, by_torch_name, nhwc, run, streams, time, variables

from gcl_jax import config as config_lib
from gcl_jax import losses, methods, optim
from gcl_jax.models import Features
from gcl_jax.models.calibrated_heads import LinearLWS
from gcl_jax.models.heads import LinearHead
from gcl_jax.models.normalized_head import GAMMA, PARTS, TwoPartNormalizedHead
from gcl_jax.training.network_apply import NetworkApply
from gcl_jax.vectors import normalize


@pytest.mark.parametrize("dataset", DATASETS)
def test_tde_schedule(bbn_tde, dataset):
    family = Family(bbn_tde, f"tde/schedule/{dataset.upper()}_LT_causal_norm_32/")
    stage = load_config(f"{dataset}_lt:tde").representation
    rates = optim.epoch_learning_rates(**config_lib.schedule_fields(stage))
    assert relative_error(rates, family["lr"]) <= 1e-5
    assert relative_error(rates / 0.2, family["lr_factor"]) <= 1e-5
    method = config_lib.build_method(stage.method.to_dict())
    decays = [method.prepare(None, streams(0, 0), time(0, 1, rate))["decay"] for rate in rates]
    assert relative_error(decays, family["mu"]) <= 1e-5
    expected = [PARTS, method.scale, method.alpha, GAMMA]
    assert family["heads_tau_alpha_gamma"].tolist() == pytest.approx(expected)
    assert family["momentum_wd"].tolist() == pytest.approx([stage.optimizer.momentum, stage.optimizer.weight_decay])
    assert not family.unread()


@pytest.mark.parametrize("dataset", ["ImageNet", "Places"])
def test_tde_decay_of_large_sets_follows_the_rate(bbn_tde, dataset):
    """No config yet: the moving feature's decay by learning rate, and the constants."""
    family = Family(bbn_tde, f"tde/schedule/{dataset}_LT_causal_norm/")
    method = methods.TDE(decay=0.0, alpha=3.0)
    found = [method.prepare(None, streams(0, 0), time(0, 1, rate))["decay"] for rate in family["lr"]]
    assert relative_error(found, family["mu"]) <= 1e-5
    rates = 0.1 * (1 + np.cos(np.pi * np.arange(1, 91) / 90))
    np.testing.assert_allclose(rates, family["lr"], atol=1e-7)
    np.testing.assert_allclose(rates / 0.2, family["lr_factor"], atol=1e-6)
    assert family["heads_tau_alpha_gamma"].tolist() == pytest.approx([PARTS, method.scale, method.alpha, GAMMA])
    assert family["momentum_wd"].tolist() == pytest.approx([0.9, 5e-4])
    assert not family.unread()


@pytest.mark.parametrize("case", ["cifar_mu0.9", "lr0.2", "lr0.01", "lr0.002"])
def test_tde_moving_feature(bbn_tde, case):
    family = Family(bbn_tde, f"tde/moving/{case}/")
    rate = 0.1 if case.startswith("cifar") else float(case.removeprefix("lr"))
    method = methods.TDE(decay=0.9 if case.startswith("cifar") else 0.0)

    class Given:
        def features(self, variables, images, *, train, key):
            return Features(pooled=images), {}

        def head(self, variables, features, *, train, key):
            return {}, {}

    batch = method.prepare(None, {"main": {"label": None}}, time(0, 1, rate))
    assert relative_error(batch["decay"], family["mu"]) <= 1e-5
    state = method.init_state(None, {"params": {"head": {"kernel": np.zeros((128, 10))}}}, None)
    for features, expected in zip(bbn_tde["tde/moving/features"], family["embed_after_each_batch"], strict=True):
        batch["image"] = features
        _, _, state = method.forward(None, Given(), {"params": {}}, state, batch, None, None, train=True)
        assert relative_error(state["moving_feature"], expected) <= 1e-5


@pytest.mark.parametrize(("case", "classes"), [("c10_d128", 10), ("c100_d64", 100)])
def test_tde_classifier(bbn_tde, case, classes):
    family = Family(bbn_tde, f"tde/classifier/{case}/")
    head, method = TwoPartNormalizedHead(classes), methods.TDE()
    labels = jnp.asarray(family["labels"])

    def objective(kernel, features):
        out = head.apply({"params": {"kernel": kernel}}, features)
        return method.loss(None, out, {"label": labels}, None, None).per_example.mean(), method.logits(out)

    kernel, features = jnp.asarray(family["weight"].T), jnp.asarray(family["features"])
    (loss, logits), grads = jax.value_and_grad(objective, (0, 1), has_aux=True)(kernel, features)
    assert relative_error(logits, family["train_logits"]) <= 1e-5
    assert relative_error(loss, family["loss"]) <= 1e-5
    assert relative_error(grads[0].T, family["grad_weight"]) <= 1e-5
    assert relative_error(grads[1], family["grad_features"]) <= 1e-5
    out = head.apply({"params": {"kernel": kernel}}, features, direction=jnp.asarray(family["moving_feature"]))
    for alpha in ("0", "1", "1.5", "3"):
        adjusted = method.after_training({"alpha": float(alpha)}).logits(out)
        assert relative_error(adjusted, family[f"test_logits_alpha{alpha}"]) <= 1e-5
    # alpha = 0 is the plain normalized classifier, and a moving feature of zeros has no effect.
    np.testing.assert_array_equal(method.after_training({"alpha": 0.0}).logits(out), logits)
    nothing = head.apply({"params": {"kernel": kernel}}, features, direction=jnp.zeros(features.shape[1]))
    np.testing.assert_array_equal(nothing["effect"], np.zeros_like(logits))
    half = features.shape[1] // 2
    parts = [np.asarray(features)[:, :half], np.asarray(features)[:, half:]]
    e = family["moving_feature"][:half], family["moving_feature"][half:]
    cosines = [x @ d / np.linalg.norm(x, axis=1) / np.linalg.norm(d) for x, d in zip(parts, e, strict=True)]
    assert relative_error(np.stack(cosines, 1), family["cos_to_moving_feature"]) <= 1e-5
    units = np.concatenate([normalize(jnp.asarray(x), axis=1) for x in parts], axis=1)
    assert relative_error(units, family["helper/l2_norm_x"]) <= 1e-5
    if "helper/causal_norm_w" in family.values:
        # A feature that is a unit vector of the first part reads one dimension of every class's normalized weight.
        for k in range(PARTS):
            probe = jnp.zeros((half, 2 * half)).at[:, k * half : (k + 1) * half].set(jnp.eye(half))
            read = PARTS * head.apply({"params": {"kernel": kernel}}, probe)["scores"].T
            expected = family["helper/causal_norm_w"][:, k * half : (k + 1) * half]
            assert relative_error(read, expected) <= 1e-5
    # TDE's code has other classifiers, too, which no recipe of ours uses.
    assert {name.split("_")[0] for name in family.unread()} == {"helper/capsule", "helper/composed"}


@pytest.fixture(scope="module", params=[pytest.param("net", marks=pytest.mark.slow), "net64"])
def tde_run(request, bbn_tde):
    given = Family(bbn_tde, f"tde/{request.param}/")
    images, labels = bbn_tde["bbn/net/train/images_uniform"], bbn_tde["bbn/net/train/labels_uniform"]
    with jax.enable_x64(True):
        weight = bbn_tde["tde/net/classifier_weight"]
        start = variables(bbn_tde, head=weight)
        steps = [{"image": nhwc(images[i]), "label": jnp.asarray(labels[i]), "decay": 0.9} for i in range(3)]
        network, after, found = run(
            methods.TDE(),
            "two_part_normalized",
            start,
            steps,
            float(given["train/lr"]),
            weight_decay=5e-4,
            nesterov=False,
        )
        evals = nhwc(bbn_tde["bbn/net/eval_images"])
        apply = NetworkApply(network, "train")
        outs = []
        for state, own in ((start, found[0][2]), (after, found[-1][2])):
            out, _, _ = methods.TDE().forward(None, apply, state, own, {"image": evals}, None, None, train=False)
            outs.append(jax.device_get(out))
    return request.param, jax.device_get(after), found, outs


def test_tde_network(bbn_tde, tde_run):
    name, after, found, (before_out, after_out) = tde_run
    bound = 1e-5 if name == "net64" else 3e-2  # three float32 steps at this rate amplify rounding
    family = Family(bbn_tde, f"tde/{name}/")
    plain = methods.TDE(alpha=0.0)
    assert relative_error(before_out["features"], family["eval_feature"]) <= 1e-5
    assert relative_error(plain.logits(before_out), family["eval_logits_no_effect"]) <= 1e-5
    assert relative_error([loss for loss, *_ in found], family["train/losses"]) <= bound
    moving = np.stack([own["moving_feature"] for _, _, own, _ in found])
    assert relative_error(moving, family["train/moving_feature_after_each_batch"]) <= bound
    assert relative_error(after_out["features"], family["after3/eval_feature"]) <= bound
    for alpha in ("0", "1"):
        found_logits = methods.TDE(alpha=float(alpha)).logits(after_out)
        assert relative_error(found_logits, family[f"after3/eval_logits_alpha{alpha}"]) <= bound
    state = {n.removeprefix("backbone."): value for n, value in by_torch_name(after).items()}
    state["classifier_weight"] = state["classifier.weight"]
    for key in list(family.values):
        what = key.removeprefix("after3/")
        if key.startswith("after3/") and what in state:
            assert relative_error(state[what], family[key]) <= bound, key
    backbone = [n for n in bbn_tde["bbn/net/param_names"].tolist() if n.startswith("backbone.")]
    norms = [np.linalg.norm(np.asarray(state[n.removeprefix("backbone.")], np.float64)) for n in backbone]
    assert relative_error(norms, family["after3/backbone_param_l2"]) <= bound
    unread = {k for k in family.unread() if not k.endswith("num_batches_tracked")} - {"classifier_weight", "train/lr"}
    assert not unread, unread


@pytest.mark.parametrize("case", ["dot_product", "lws"])
def test_the_baselines_of_tdes_code(bbn_tde, case):
    """A linear classifier without a bias, and LWS, on the features of tde/classifier/c10_d128."""
    given, family = Family(bbn_tde, "tde/classifier/c10_d128/"), Family(bbn_tde, f"tde/baseline/{case}/")
    params = {"kernel": jnp.asarray(given["weight"].T), "bias": jnp.zeros(10)}
    head = LinearHead(10)
    if case == "lws":
        params |= {"bias": jnp.asarray(family["bias"]), "scale": jnp.asarray(family["scales"])}
        head = LinearLWS(10)

    def objective(params, features):
        logits = head.apply({"params": params}, features)
        return losses.cross_entropy(logits, jnp.asarray(given["labels"])).mean(), logits

    (loss, logits), (of_params, of_features) = jax.value_and_grad(objective, (0, 1), has_aux=True)(
        params, jnp.asarray(given["features"])
    )
    found = {"loss": loss, "logits": logits, "grad_features": of_features, "grad_weight": of_params["kernel"].T}
    found |= {"grad_scales": of_params.get("scale")}
    for name in set(family.values) - family.read:
        assert relative_error(found[name], family[name]) <= 1e-5, name


def test_the_focal_loss_of_tdes_code(bbn_tde):
    """Its factor is detached, as in GCL's code."""
    given, family = Family(bbn_tde, "tde/classifier/c10_d128/"), Family(bbn_tde, "tde/baseline/focal_gamma2/")
    labels = jnp.asarray(given["labels"])
    loss, grad = jax.value_and_grad(lambda z: losses.focal(losses.cross_entropy(z, labels), 2.0, detach=True).mean())(
        jnp.asarray(given["train_logits"])
    )
    assert relative_error(loss, family["loss"]) <= 1e-5
    assert relative_error(grad, family["grad_logits"]) <= 1e-5
    assert not family.unread()


def test_no_family_is_left_out(bbn_tde):
    kinds = {tuple(name.split("/")[:2]) for name in bbn_tde}
    assert kinds == {
        ("bbn", "lambda"), ("bbn", "schedule"), ("bbn", "sampler"), ("bbn", "mix"), ("bbn", "net"), ("bbn", "net64"),
        ("bbn", "net_lr0.01"), ("tde", "schedule"), ("tde", "moving"), ("tde", "classifier"), ("tde", "net"),
        ("tde", "net64"), ("tde", "baseline"),
    }  # fmt: skip
