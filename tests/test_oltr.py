"""OLTR: every value of its authors' code, and what its formulas say in corners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error
from flax import traverse_util
from tiny import load_config

from gcl_jax import centroids, losses, methods, models, optim
from gcl_jax.models.meta_embedding import MetaEmbeddingHead, meta_embedding, squashed_cosine
from gcl_jax.models.modulated_attention import ModulatedAttention
from gcl_jax.training import evaluate
from gcl_jax.training.network_apply import NetworkApply

BOUND = 1e-5


def close(ours, theirs, bound=BOUND):
    assert relative_error(ours, theirs) <= bound


def squares(x, c, labels):
    """attraction and repulsion as the paper has them, in numpy and by loops."""
    pull = sum(((x[i] - c[j]) ** 2).sum() for i, j in enumerate(labels)) / (2 * len(x))
    pushes = [((x[i] - c[j]) ** 2).sum() for i in range(len(x)) for j in range(len(c)) if j != labels[i]]
    return pull, max(0.0, 10 - sum(pushes) / (len(x) * len(c)))


@pytest.mark.parametrize("case", ["active", "inactive"])
def test_centroid_losses(oltr_decoupling, case):
    """Values and gradients; that of the attraction to the centroids is the authors' own, and knows no weight."""
    family = Family(oltr_decoupling, f"oltr/disc/{case}/")
    x, c, labels = (jnp.asarray(family[name]) for name in ("feat", "centroids", "label"))

    def attract(x, c, weight=1.0):
        return centroids.attraction(x, c, labels, weight).mean()

    def repel(x, c):
        return 0.01 * centroids.repulsion(x, c, labels)

    forms = {
        "attract": attract,
        "repel_x0.01": repel,
        "module": lambda x, c: attract(x, c) + repel(x, c),
        "weighted": lambda x, c: attract(x, c, 0.01) + 0.01 * repel(x, c),
    }
    for name, form in forms.items():
        value, grads = jax.value_and_grad(form, (0, 1))(x, c)
        close(value, family[f"{name}/value"])
        for grad, of in zip(grads, ("feat", "centroids"), strict=True):
            close(grad, family[f"{name}/grad_{of}"])
    pull, push = squares(*(np.asarray(family[name], np.float64) for name in ("feat", "centroids")), family["label"])
    close(attract(x, c), pull)
    close(repel(x, c), 0.01 * push)
    assert (push > 0) == (case == "active")
    assert not family.unread()


def test_attraction_moves_a_centroid_towards_the_mean_of_its_batch():
    """From c, a step of (1 + n) / n against the gradient ends at the mean of the class's n features; others stay."""
    rng = np.random.default_rng(0)
    x, c = jnp.asarray(rng.normal(size=(6, 3))), jnp.asarray(rng.normal(size=(4, 3)))
    labels = jnp.array([0, 0, 2, 0, 2, 1])
    pull = jax.grad(lambda c: centroids.attraction(x, c, labels, 1e-6).sum())(c)
    n = np.bincount(labels, minlength=4)
    moved = c - pull * ((1 + n) / np.maximum(n, 1))[:, None]
    for j in range(3):
        np.testing.assert_allclose(moved[j], x[np.asarray(labels) == j].mean(0), rtol=1e-5, atol=1e-6)
    assert (pull[3] == 0).all()


def embedded(p, x, memory):
    """Logits and the two features of the authors' meta-embedding classifier, with their names and layouts."""
    address = x @ p["fc_hallucinator.weight"].T + p["fc_hallucinator.bias"]
    selector = jnp.tanh(x @ p["fc_selector.weight"].T + p["fc_selector.bias"])
    v = meta_embedding(x, jax.lax.stop_gradient(memory), address, selector)
    logits = methods.OLTR().logits({"scores": squashed_cosine(v, p["cosnorm_classifier.weight"].T)})
    return logits, selector * (jax.nn.softmax(address) @ memory)


LAYERS = (
    "fc_hallucinator.weight", "fc_hallucinator.bias", "fc_selector.weight", "fc_selector.bias",
    "cosnorm_classifier.weight",
)  # fmt: skip


def test_meta_embedding(oltr_decoupling):
    family = Family(oltr_decoupling, "oltr/meta/")
    p = {name: jnp.asarray(family[name]) for name in LAYERS}
    x, memory, labels = jnp.asarray(family["x"]), jnp.asarray(family["centroids"]), family["label"]

    def objective(p, x, memory):
        logits, infused = embedded(p, x, memory)
        return losses.cross_entropy(logits, labels).mean(), (logits, infused)

    (ce, (logits, infused)), (of_p, of_x, of_memory) = jax.value_and_grad(objective, (0, 1, 2), has_aux=True)(
        p, x, memory
    )
    close(ce, family["ce"])
    close(logits, family["logits"])
    close(infused, family["infused_feature"])
    close(x, family["direct_feature"])
    close(of_x, family["grad/x"])
    for name in LAYERS:
        close(of_p[name], family[f"grad/{name}"])
    assert family["centroids_grad_is_none"]
    assert not of_memory.any()
    assert not family.unread()


def test_meta_embedding_is_finite_on_a_centroid_and_at_zero():
    """Where the published code divides by zero: x = c, and v = 0."""
    c = jnp.eye(2)

    def total(x, c):
        v = meta_embedding(x, c, jnp.zeros((1, 2)), jnp.zeros((1, 2)))
        return squashed_cosine(v, jnp.eye(2)).sum()

    for x in (jnp.array([[1.0, 0.0]]), jnp.zeros((1, 2))):
        value, grads = jax.value_and_grad(total, (0, 1))(x, c)
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() for g in grads)
    assert total(jnp.zeros((1, 2)), c) == 0


def nhwc(x):
    return jnp.moveaxis(jnp.asarray(x), -3, -1)


def attention_params(family, size=7):
    """The authors' attention under our names: pixels before channels, and no bias of phi."""
    channels = family["x"].shape[1]
    weight = family["fc_spatial.weight"].reshape(-1, channels, size, size)
    p = {
        "spatial_kernel": np.moveaxis(weight, 1, 3).reshape(size * size, -1).T,
        "spatial_bias": family["fc_spatial.bias"],
    }
    for ours, theirs in {"g": "g", "theta": "theta", "phi": "phi", "mask": "conv_mask"}.items():
        p[f"{ours}_kernel"] = family[f"{theirs}.weight"][:, :, 0, 0].T
        if ours in ("g", "theta"):
            p[f"{ours}_bias"] = family[f"{theirs}.bias"]
    return {name: jnp.asarray(value) for name, value in p.items()}


def test_modulated_attention(oltr_decoupling):
    family = Family(oltr_decoupling, "oltr/att/")
    p, x = attention_params(family), nhwc(family["x"])
    cotangent = nhwc(family["cotangent"])
    out, pull = jax.vjp(lambda p, x: ModulatedAttention().apply({"params": p}, x), p, x)
    close(out, nhwc(family["out"]))
    # Of the product only: the authors' mask and places.
    close(out - x, nhwc(family["mask"]) * family["spatial"][..., None], 1e-4)
    of_p, of_x = pull(cotangent)
    close(of_x, nhwc(family["grad/x"]))
    expected = Family(
        {**family.values, **{n.removeprefix("grad/"): v for n, v in family.values.items() if n.startswith("grad/")}}, ""
    )
    for name, value in attention_params(expected).items():
        close(of_p[name], value)
    assert np.any(family["phi.bias"])
    np.testing.assert_allclose(family["grad/phi.bias"], 0, atol=1e-5)  # and so the layer needs none
    family.read |= {f"grad/{name}" for name in expected.read}
    assert not family.unread()


def test_initialisation(oltr_decoupling):
    """[mean, std, min, max] of the authors' layers against ours of the same size.

    A mean is off by less than 5 standard errors (two-sided 6e-7 each), a standard deviation by less than 5 of its own;
    bounds of uniform ones are met. "layer_alone" is what the network's own initialization overwrites.
    """
    family = Family(oltr_decoupling, "oltr/init/")
    for block, dim in {"r10": 512, "bottleneck_1111": 2048}.items():
        head = MetaEmbeddingHead(num_classes=1000 if block == "r10" else 2)
        images = jnp.zeros((1, 7, 7, dim))
        params = jax.jit(lambda: head.init(jax.random.key(0), images))()["params"]  # noqa: B023
        a, at = params["attention"], f"{block}/modulatedatt"
        ours = {
            f"{at}.g.weight": a["g_kernel"], f"{at}.g.bias": a["g_bias"],
            f"{at}.theta.weight": a["theta_kernel"], f"{at}.theta.bias": a["theta_bias"],
            f"{at}.phi.weight": a["phi_kernel"], f"{at}.conv_mask.weight": a["mask_kernel"],
            f"{at}.fc_spatial.weight": a["spatial_kernel"], f"{at}.fc_spatial.bias": a["spatial_bias"],
            f"{block}/fc_add.weight": params["feature_kernel"], f"{block}/fc_add.bias": params["feature_bias"],
        }  # fmt: skip
        if block == "r10":
            meta = "meta_d512_C1000"
            ours[f"{meta}/fc_selector.weight"] = params["selector_kernel"]
            ours[f"{meta}/fc_selector.bias"] = params["selector_bias"]
            ours[f"{meta}/cosnorm_classifier.weight"] = params["cosine_kernel"]
        for name, value in ours.items():
            mean, std, low, high = family[name]
            if std == 0:
                assert (value == mean).all(), name
                continue
            n = value.size
            assert abs(value.mean() - mean) < 5 * std * np.sqrt(2 / n), name
            assert abs(value.std() / std - 1) < 5 * np.sqrt(2 / n), name
            if "fc_" in name or "cosnorm" in name:
                assert max(-low, high, np.abs(value).max()) < 1.2 * np.sqrt(3) * std, name
    read = {name for name in family.values if name.startswith("layer_alone")}
    read |= {name for name in family.values if name.endswith("phi.bias")}  # zero, and not there
    read |= {f"meta_d512_C1000/fc_hallucinator.{leaf}" for leaf in ("weight", "bias")}  # the stage before's classifier
    assert family.unread() == read


def test_class_means_start_the_centroids(oltr_decoupling):
    family = Family(oltr_decoupling, "oltr/class_mean/")
    close(evaluate.class_means(family["feat"], family["label"], 10), family["centroids"])
    means = jnp.asarray(family["centroids"])
    stats = methods.ClassInfo(jnp.ones(10), {}, class_means=means)
    params = {"head": {"centroids": jnp.zeros_like(means), "kernel": 1}, "backbone": 2}
    found = methods.OLTR().init_params(None, {"params": params}, stats)
    assert found == {"head": {"centroids": means, "kernel": 1}, "backbone": 2}
    assert not family.unread()


def test_three_steps_of_everything(oltr_decoupling):
    """Loss, centroids and classifier under the groups' rates, with momentum and decay; features are given."""
    family = Family(oltr_decoupling, "oltr/steps/")
    method = methods.OLTR()
    params = {"head": {name: jnp.asarray(family[f"init/{name}"]) for name in LAYERS}}
    params["head"]["centroids"] = jnp.asarray(family["centroids"][0])
    features, head, own = family["lr_momentum_wd_feat_classifier_centroids"]
    rules = load_config("cifar10_lt:oltr").meta_embedding.optimizer.lr_mult
    tree = {**params, "backbone": {"w": 0.0}}
    labels, groups = optim.param_groups(tree, trainable=".*", lr_mult=optim.parse_rules(rules, "lr_mult"))
    rate = {path: groups[label].lr_mult * head[0] for path, label in traverse_util.flatten_dict(labels).items()}
    np.testing.assert_allclose([rate["backbone", "w"], rate["head", "centroids"]], [features[0], own[0]])
    optimizer = optim.make_optimizer(
        optim.SGD(float(head[1])), {"head": labels["head"]}, groups, weight_decay=float(head[2])
    )
    state = optimizer.init(params)
    for i in range(3):
        x, y = jnp.asarray(family["feat"][i]), jnp.asarray(family["label"][i])

        def objective(params, x=x, y=y):
            memory = params["head"]["centroids"]
            logits, _ = embedded(params["head"], x, memory)
            out = {"features": x, "centroids": memory, "scores": logits / method.scale}
            found = method.loss(None, out, {"label": y}, None, None)
            return losses.weighted_mean(found.per_example, found.weight) + found.aux_loss, found.aux_loss

        (loss, of_features), grads = jax.value_and_grad(objective, has_aux=True)(params)
        close([loss, of_features], family["losses_total_feat"][i])
        close(grads["head"]["centroids"], family["centroid_grad"][i])
        updates, state = optimizer.update(grads, state, params, learning_rate=float(head[0]))
        params = jax.tree.map(jnp.add, params, updates)
        close(params["head"]["centroids"], family["centroids"][i + 1])
    for name in LAYERS:
        close(params["head"][name], family[f"after3/{name}"])
    assert not family.unread()


@pytest.mark.slow
def test_the_whole_network_is_backbone_attention_and_embedding(oltr_decoupling):
    """Features are those of the head, by hand from the map; the map's mean is what other heads get."""
    network = models.build("resnet8", "meta_embedding", 10)
    images = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))
    variables = jax.jit(lambda: network.init(jax.random.key(0), images, train=False))()
    head = {**variables["params"]["head"], "centroids": jax.random.normal(jax.random.key(2), (10, 64))}
    variables = {**variables, "params": {**variables["params"], "head": head}}
    apply = NetworkApply(network, "train")
    out, _ = apply(variables, images, train=False)
    feature_map = apply.features(variables, images, train=False)[0].map
    assert feature_map.shape == (3, 2, 2, 64)
    attended = ModulatedAttention().apply({"params": head["attention"]}, feature_map)
    x = jnp.maximum(attended.mean((1, 2)) @ head["feature_kernel"] + head["feature_bias"], 0)
    np.testing.assert_allclose(out["features"], x, rtol=1e-5, atol=1e-6)
    selector = jnp.tanh(x @ head["selector_kernel"] + head["selector_bias"])
    v = meta_embedding(x, head["centroids"], x @ head["kernel"] + head["bias"], selector)
    np.testing.assert_allclose(out["scores"], squashed_cosine(v, head["cosine_kernel"]), rtol=1e-4, atol=1e-6)
    pooled = models.build("resnet8", "linear", 10)
    plain = NetworkApply(pooled, "train").features(variables, images, train=False)[0].pooled
    np.testing.assert_allclose(plain, feature_map.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_no_family_is_left_out(oltr_decoupling):
    found = {name.split("/")[1] for name in oltr_decoupling if name.startswith("oltr/")}
    assert found == {
        "disc", "meta", "att", "init", "places_stage2_trainable", "class_mean", "steps", "shot", "lr",
    }  # fmt: skip
