"""Logit adjustment as a loss (Menon et al. 2021); at tau = 1 Balanced Softmax (Ren et al. 2020)."""

import dataclasses

from gcl_jax import class_weights, losses
from gcl_jax.errors import require
from gcl_jax.methods.base import LossOut, Method


@dataclasses.dataclass(frozen=True)
class LogitAdjustment(Method):
    """CE on f + tau * log(pi), plain f at test (Menon et al. 2021, eq. 10); ``tau`` = 1 is Balanced Softmax.

    The same rule after training is ``config.posthoc.logit_adjustment``.
    """

    scale: float = 1.0
    tau: float = 1.0

    def __post_init__(self):
        require(self.scale > 0, "scale", self.scale, "positive")
        require(self.tau >= 0, "tau", self.tau, "0 or positive")

    def constants(self, counts):
        return {"log_prior": class_weights.log_priors(counts)}

    def loss(self, key, out, batch, t, stats):
        log_prior = stats.constants["log_prior"]
        return LossOut(losses.logit_adjusted(self.logits(out), batch["label"], log_prior, tau=self.tau))

    def logits(self, out):
        return self.scale * out["scores"]
