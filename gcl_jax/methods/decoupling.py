"""Decoupling's classifiers that are not trained but made (Kang et al. 2020): tau-normalisation, nearest class mean.

Both are stages of 0 epochs. cRT is any method in a stage with trainable = "head/" and restore = "backbone/"; LWS any
with trainable = "head/scale" and an LWS head.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from gcl_jax import losses, posthoc
from gcl_jax.errors import require_one_of
from gcl_jax.methods.base import SCALE, LossOut, Method
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class _TrainingFree(Method):
    scale: float = ranged(1.0, SCALE)

    trainable: ClassVar[str] = "head/"

    def loss(self, key, out, batch, t, info):
        # Zero epochs are the method; more of them go on from there with cross-entropy.
        return LossOut(losses.cross_entropy(self.logits(out), batch["label"]))

    def logits(self, out):
        return self.scale * out["scores"]


@dataclasses.dataclass(frozen=True)
class TauNorm(_TrainingFree):
    """w_j / ||w_j||^tau, the bias dropped (Decoupling, section 4).

    A cosine head ignores the norms of its kernel; the head "half_cosine" is our reading of the rule
    for it: z_j = s (w_j / ||w_j||^tau) . f / ||f|| on the stored kernel.
    """

    tau: float = ranged(1.0, "[0, 10]")

    heads: ClassVar[tuple[str, ...]] = ("linear", "half_cosine")
    restores_classifier: ClassVar[bool] = True

    def init_params(self, key, variables, info):
        params = variables["params"]
        head = {"kernel": posthoc.tau_normalize(params["head"]["kernel"], self.tau)}
        if "bias" in params["head"]:
            head["bias"] = jnp.zeros_like(params["head"]["bias"])
        return {**params, "head": head}


@dataclasses.dataclass(frozen=True)
class NearestClassMean(_TrainingFree):
    """Nearest class mean: scores -||g(x) - mu_j||^2, mu_j the class's mean g over the training set.

    ``variant`` names g: un (x), l2n (x / ||x||) or cl2n ((x - m) / ||x - m||, m the mean of all training features).
    """

    variant: str = "cl2n"

    restore: ClassVar[str] = "backbone/"
    needs: ClassVar[frozenset[str]] = frozenset({"train_features"})

    def __post_init__(self):
        super().__post_init__()
        require_one_of("variant", self.variant, posthoc.NEAREST_MEAN_VARIANTS)

    @property
    def heads(self):
        return (f"nearest_mean_{self.variant}",)

    def init_params(self, key, variables, info):
        features, labels = info.train_features
        mean = features.mean(0)
        seen = posthoc.nearest_mean_features(features, mean, self.variant)
        centroids = posthoc.class_centroids(seen, labels, len(info.counts))
        return {**variables["params"], "head": {"kernel": centroids.T, "mean": mean}}
