"""LDAM-DRW, Balanced Softmax, logit adjustment and torch's CE: every value of the authors' code, and gradients.

Each test reads one family of keys whole; the last test says that no family of these methods is left.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error

from gcl_jax import class_weights, longtail, losses, optim, posthoc, sampling

# Google's own network, optimizer and batch norm, which no config of ours uses.
GOOGLE = tuple(f"logit_adjustment/{part}/" for part in ("weight_decay", "sgd", "model", "batch_norm"))
CASES = [(dataset, ratio) for dataset in ("cifar10", "cifar100") for ratio in (100, 50)]


def close(ours, theirs, bound=1e-5):
    assert relative_error(ours, theirs) <= bound


def check_loss(family, at, loss, inputs, name):
    """Value and gradient of a scalar ``loss(inputs)``."""
    value, grad = jax.value_and_grad(loss)(jnp.asarray(inputs))
    close(value, family[f"{at}/value"])
    close(grad, family[f"{at}/grad_{name}"])


@pytest.mark.parametrize(("dataset", "ratio"), CASES)
def test_ldam_drw(losses_contrastive, dataset, ratio):
    family = Family(losses_contrastive, f"ldam/{dataset}/{ratio}/")
    counts, labels = family["counts"], jnp.asarray(family["labels"])
    cosine, logits = family["cosine"], family["logits"]
    classes = len(counts)
    assert counts.tolist() == longtail.exponential_counts(50000 / classes, classes, ratio).tolist()

    drw = class_weights.effective_number_weights(counts, 0.9999)
    close(drw, family["drw_weights"])
    for beta in (0.9, 0.99, 0.999, 0.9999):
        close(class_weights.effective_number_weights(counts, beta), family[f"effective_number_weights/beta{beta}"])
    margins = class_weights.ldam_margins(counts, 0.5)
    close(margins, family["margins"])
    resampler = sampling.EffectiveNumber(beta=0.9999)
    theirs = family["resample/sample_weight_per_class"]
    ours = resampler.sample_weights(counts)
    close(ours / ours.sum(), theirs / theirs.sum())  # un-normalised there and here
    close(resampler.class_probabilities(counts), family["resample/class_probability"])

    weight = jnp.asarray(drw, jnp.float32)[labels]
    ldam = lambda c, w=None: losses.weighted_mean(losses.ldam(c, labels, margins, scale=30.0), w)  # noqa: E731
    check_loss(family, "ldam", ldam, cosine, "cosine")
    check_loss(family, "ldam_drw_before", lambda c: ldam(c, jnp.ones(len(labels))), cosine, "cosine")
    check_loss(family, "ldam_drw", lambda c: ldam(c, weight), cosine, "cosine")
    ce = lambda z: losses.cross_entropy(z, labels)  # noqa: E731
    check_loss(family, "ce", lambda z: jnp.mean(ce(z)), logits, "logits")
    check_loss(family, "ce_weighted", lambda z: losses.weighted_mean(ce(z), weight), logits, "logits")
    check_loss(family, "focal_gamma1", lambda z: jnp.mean(losses.focal(ce(z), 1.0)), logits, "logits")
    inside = lambda z: jnp.mean(losses.focal(weight * ce(z), 1.0))  # noqa: E731
    check_loss(family, "focal_gamma1_weighted", inside, logits, "logits")
    assert not family.unread()


def test_drw_begins_with_the_drop_of_the_rate(losses_contrastive):
    family = Family(losses_contrastive, "ldam/schedule/")
    rates = optim.epoch_learning_rates(
        learning_rate=0.1, schedule="step", epochs=200, warmup_percent=2.5, boundaries_percent=(80.0, 90.0),
        decay_factors=(0.01, 1e-4),
    )  # fmt: skip
    # Epoch by epoch: the last rates are 10^4 times smaller than the first.
    np.testing.assert_allclose(rates, family["lr_200_epochs"], rtol=1e-5)
    assert (
        family["drw_on_200_epochs"].tolist() == (np.arange(200) >= np.flatnonzero(np.diff(rates) < 0)[0] + 1).tolist()
    )
    # Published "Resample" is plain CE, its sampler never reaching the loader; ours resamples.
    assert family["resample_sampler_reaches_loader"] == 0
    assert not family.unread()


@pytest.mark.parametrize("prior", ["counts", "shares"])
@pytest.mark.parametrize(("dataset", "ratio"), CASES)
def test_balanced_softmax(losses_contrastive, dataset, ratio, prior):
    family = Family(losses_contrastive, f"balanced_softmax/{dataset}/{ratio}/")
    counts, labels = family["counts"], jnp.asarray(family["labels"])
    log_prior = np.log(counts) if prior == "counts" else class_weights.log_priors(counts)
    value, grad = jax.value_and_grad(lambda z: jnp.mean(losses.logit_adjusted(z, labels, log_prior)))(family["logits"])
    close(value, family["value"])
    close(grad, family["grad_logits"])
    assert not family.unread()


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_logit_adjustment(losses_contrastive, dataset):
    family = Family(losses_contrastive, f"logit_adjustment/{dataset}/")
    counts, logits, labels = (family[k] for k in ("counts", "logits", "labels"))
    log_prior = class_weights.log_priors(counts)
    close(np.exp(log_prior), family["base_probs"])
    for name, tau in {"baseline": 0.0, "tau1": 1.0, "tau0.5": 0.5}.items():
        loss = lambda z, tau=tau: jnp.mean(losses.logit_adjusted(z, labels, log_prior, tau=tau))  # noqa: E731
        check_loss(family, f"loss/{name}", loss, logits, "logits")
    assert logits.argmax(1).tolist() == family["posthoc/unadjusted_prediction"].tolist()
    for name, tau in {"tau1": 1.0, "tau0.5": 0.5}.items():
        adjusted = posthoc.logit_adjust(jnp.asarray(logits), jnp.asarray(counts, jnp.float32), tau)
        close(adjusted, family[f"posthoc/{name}/adjusted_logits"])
        assert adjusted.argmax(1).tolist() == family[f"posthoc/{name}/prediction"].tolist()
    assert {name.split("/")[0] for name in family.unread()} == {"schedule"}  # Google's, as `GOOGLE`


TORCH = {  # name: (smoothing, class weights, reduction)
    "plain": (0.0, False, "mean"),
    "smooth0.1": (0.1, False, "mean"),
    "weighted": (0.0, True, "mean"),
    "weighted_sum": (0.0, True, "sum"),
}


def test_torch_cross_entropy(losses_contrastive):
    family = Family(losses_contrastive, "torch/cross_entropy/")
    labels, weights = jnp.asarray(family["labels"]), jnp.asarray(family["weights"])
    for name, (eps, weighted, reduction) in TORCH.items():

        def loss(z, eps=eps, weighted=weighted, reduction=reduction):
            per_example = losses.label_aware_smoothing(z, labels, jnp.full(len(weights), eps))
            weight = weights[labels] if weighted else None
            return jnp.sum(weight * per_example) if reduction == "sum" else losses.weighted_mean(per_example, weight)

        check_loss(family, name, loss, family["logits"], "logits")
    # Torch weighs each class's smoothing term by that class; no method of ours has both.
    assert family.unread() == {"smooth0.1_weighted/value", "smooth0.1_weighted/grad_logits"}


def test_no_family_is_left_out(losses_contrastive):
    """mixup/* is compared in test_mixup."""
    read = {f"{method}/{dataset}/{ratio}" for method in ("ldam", "balanced_softmax") for dataset, ratio in CASES}
    read |= {"ldam/schedule", "logit_adjustment/cifar10", "logit_adjustment/cifar100"}
    families = [
        name
        for name in losses_contrastive
        if name.split("/")[0] in {"ldam", "balanced_softmax", "logit_adjustment"} and not name.startswith(GOOGLE)
    ]
    assert [name for name in families if not any(name.startswith(f"{prefix}/") for prefix in read)] == []


def test_mixup_has_no_other_keys(losses_contrastive):
    per_case = {
        f"{case}/{k}"
        for case in ("lam0.3", "lam0.85", "drawn")
        for k in ("lam", "mixed_images", "value", "grad_logits")
    }
    assert set(Family(losses_contrastive, "mixup/").values) == per_case | {
        "images_nchw", "labels", "logits", "permutation",
    }  # fmt: skip
