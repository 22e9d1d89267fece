"""Adaptive sharpness-aware minimization: a gradient rule with keys of its own."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from gcl_jax.gradients import GRADIENT_RULES, GradientRule
from gcl_jax.registry import option


@dataclasses.dataclass(frozen=True)
class AdaptiveSAM(GradientRule):
    """ASAM (Kwon et al. 2021, eq. 5): the gradient at w + radius * T^2 g / ||T g||, T = |w| + eta, of each weight."""

    radius: float = option(0.5, "[0, 100]")  # config.STAGE.gradient.radius
    eta: float = option(0.01, "[0, 1]")

    micro_batches: ClassVar[bool] = False  # the norm is the whole batch's

    def __call__(self, key, run, params, model_state, batch, t, info):
        gradient, first = run(params, model_state)  # 0 where a parameter is frozen
        scaled = jax.tree.map(lambda w, g: (jnp.abs(w) + self.eta) * g, params, gradient)
        length = self.radius / (optax.global_norm(scaled) + 1e-12)
        nearby = jax.tree.map(lambda w, g: w + length * (jnp.abs(w) + self.eta) * g, params, scaled)
        gradient, _ = run(nearby, first.model_state)
        return gradient, first  # whose batch statistics are those of w


GRADIENT_RULES.register("adaptive_sam", AdaptiveSAM)
