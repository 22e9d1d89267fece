"""Decoupling's classifiers that are not trained but made (Kang et al. 2020): tau-normalisation, nearest class mean.

Both are stages of 0 epochs. cRT is any method with trains = "classifier" and fresh_head = True; LWS any with
trains = "scale" and an LWS head.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from gcl_jax import losses, posthoc
from gcl_jax.errors import require, require_one_of
from gcl_jax.methods.base import SCALE, LossOut, Method
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class _Made(Method):
    trains: str = "classifier"
    scale: float = ranged(1.0, SCALE)

    def __post_init__(self):
        super().__post_init__()
        require(not self.fresh_head, "fresh_head", True, "False where the classifier is made, not trained")

    def loss(self, key, out, batch, t, stats):
        # Zero epochs are the method; more of them go on from there with cross-entropy.
        return LossOut(losses.cross_entropy(self.logits(out), batch["label"]))

    def logits(self, out):
        return self.scale * out["scores"]


@dataclasses.dataclass(frozen=True)
class TauNorm(_Made):
    """w_j / ||w_j||^tau, the bias dropped (Decoupling, section 4).

    A cosine head ignores the norms of its kernel; ``head`` = "half_cosine" is our reading of the rule
    for it: z_j = s (w_j / ||w_j||^tau) . f / ||f|| on the stored kernel.
    """

    tau: float = ranged(1.0, "[0, 10]")

    def __post_init__(self):
        super().__post_init__()
        require_one_of("head", self.head, ("linear", "half_cosine"))

    def init_params(self, key, params, stats):
        head = {"kernel": posthoc.tau_normalize(params["head"]["kernel"], self.tau)}
        if "bias" in params["head"]:
            head["bias"] = jnp.zeros_like(params["head"]["bias"])
        return {**params, "head": head}


@dataclasses.dataclass(frozen=True)
class NearestClassMean(_Made):
    """Nearest class mean: scores -||g(x) - mu_j||^2, mu_j the class's mean g over the training set.

    The ``head`` names g: nearest_mean_un (x), nearest_mean_l2n (x / ||x||) or nearest_mean_cl2n
    ((x - m) / ||x - m||, m the mean of all training features).
    """

    head: str = "nearest_mean_cl2n"

    needs: ClassVar[frozenset[str]] = frozenset({"train_features"})

    def __post_init__(self):
        super().__post_init__()
        require_one_of("head", self.head, [f"nearest_mean_{v}" for v in posthoc.NEAREST_MEAN_VARIANTS])

    def inherits(self, path):
        return path[0] != "head"

    def init_params(self, key, params, stats):
        features, labels = stats.train_features
        mean = features.mean(0)
        seen = posthoc.nearest_mean_features(features, mean, self.head.removeprefix("nearest_mean_"))
        centroids = posthoc.class_centroids(seen, labels, len(stats.counts))
        return {**params, "head": {"kernel": centroids.T, "mean": mean}}
