"""Every loss, counts, sampler and schedule value of the authors' code, values and gradients."""

import jax
import jax.numpy as jnp
import pytest
from conftest import relative_error

from gcl_jax import class_weights, longtail, losses, optim, sampling

DATASETS = ("cifar10", "cifar100")


def _gcl(**hyper):
    return lambda c, y, e, cloud, n: losses.gcl(c, y, e, cloud, **hyper)


def _angular(**hyper):
    return lambda c, y, e, cloud, n: losses.angular_gcl(c, y, e, cloud, **hyper)


CASES = {
    "ce": lambda c, y, e, cloud, n: losses.cross_entropy(c, y),
    "focal_gamma1": lambda c, y, e, cloud, n: losses.focal(losses.cross_entropy(c, y), 1.0, detach=True),
    "ldam_m0.5_s30": lambda c, y, e, cloud, n: losses.ldam(c, y, class_weights.ldam_margins(n, 0.5), scale=30.0),
    "gcl_stage1_m0_s30_k0.5": _gcl(scale=30.0, margin=0.0, noise_multiplier=0.5),
    "gcl_m0_s30_k1": _gcl(scale=30.0, margin=0.0, noise_multiplier=1.0),
    "gcl_stage2_m0.1_s20_k0.5_focal1": _gcl(scale=20.0, margin=0.1, noise_multiplier=0.5, focal_gamma=1.0),
    "gclang_m0_s30_eps0.5_easy": _angular(scale=30.0, margin=0.0, noise_multiplier=0.5, easy_margin=True),
    "gclang_m0.1_s30_eps0.1": _angular(scale=30.0, margin=0.1, noise_multiplier=0.1, easy_margin=False),
}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient(official, dataset, case):
    prefix = f"loss/{dataset}"
    counts = official[f"{prefix}/counts"]
    cosine, labels, noise = (jnp.asarray(official[f"{prefix}/{k}"]) for k in ("cosine", "labels", "noise"))
    cloud = jnp.asarray(longtail.cloud_sizes(counts), jnp.float32)

    def mean(cosine):
        return losses.weighted_mean(CASES[case](cosine, labels, noise, cloud, counts))

    value, grad = jax.value_and_grad(mean)(cosine)
    assert relative_error(value, official[f"{prefix}/{case}/value"]) <= 1e-5
    assert relative_error(grad, official[f"{prefix}/{case}/grad_cosine"]) <= 1e-5


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_loss_of_the_reference_is_tested(official, dataset):
    prefix = f"loss/{dataset}/"
    assert {k[len(prefix) :].split("/")[0] for k in official if k.startswith(prefix) and k.endswith("/value")} == {
        *CASES
    }


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("ratio", [200, 100, 50, 20, 10])
def test_counts(official, dataset, ratio):
    theirs = official[f"counts/{dataset}/{ratio}"]
    ours = longtail.exponential_counts(50000 / len(theirs), len(theirs), ratio)
    assert ours.tolist() == theirs.tolist()


SAMPLERS = {
    "balanced": sampling.ClassBalanced(),
    "effective_number_beta0.9999": sampling.EffectiveNumber(beta=0.9999),
    "official_cben_a0.9999_b1e-5": sampling.CBEN(a=0.9999, b=1e-5),
}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_weights(official, dataset, name):
    theirs = official[f"sampler/{dataset}/{name}/sample_weight_per_class"]
    ours = SAMPLERS[name].sample_weights(official[f"counts/{dataset}/100"])
    # Un-normalised there and here, so compare shares.
    assert relative_error(ours / ours.sum(), theirs / theirs.sum()) <= 1e-5


def test_stage1_schedule(official):
    ours = optim.epoch_learning_rates(
        learning_rate=0.1, schedule="step", epochs=200, warmup_percent=2.5, boundaries_percent=(80.0, 90.0),
        decay_factors=(0.1, 0.01),
    )  # fmt: skip
    assert relative_error(ours, official["schedule/stage1_lr_200_epochs"]) <= 1e-5


def test_stage2_schedule(official):
    """The published code's effective rate for lr 0.1: cosine from 0.002."""
    ours = optim.epoch_learning_rates(learning_rate=0.002, schedule="cosine", epochs=30)
    assert relative_error(ours, official["schedule/official_stage2_lr_30_epochs"]) <= 1e-5


def test_nothing_of_the_reference_is_left_out(official):
    """`test_network_parity` compares net/*; everything else is compared here."""
    assert {name.split("/")[0] for name in official} == {"counts", "loss", "sampler", "net", "schedule"}
