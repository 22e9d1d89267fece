"""Logit adjustment as a loss (Menon et al. 2021); at tau = 1 Balanced Softmax (Ren et al. 2020)."""

import dataclasses

from gcl_jax import class_weights, losses
from gcl_jax.methods.base import SCALE, LossOut, Method
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class LogitAdjustment(Method):
    """CE on f + tau * log(pi), plain f at test (Menon et al. 2021, eq. 10); ``tau`` = 1 is Balanced Softmax.

    The same rule after training is ``config.posthoc.logit_adjustment``.
    """

    scale: float = ranged(1.0, SCALE)
    tau: float = ranged(1.0, "[0, 100]")

    def constants(self, counts):
        return {"log_prior": class_weights.log_priors(counts)}

    def loss(self, key, out, batch, t, info):
        log_prior = info.constants["log_prior"]
        return LossOut(losses.logit_adjusted(self.logits(out), batch["label"], log_prior, tau=self.tau))

    def logits(self, out):
        return self.scale * out["scores"]
