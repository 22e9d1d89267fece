"""The gradient at weights with noise on them: a gradient rule that draws."""

import dataclasses

import jax
import jax.numpy as jnp

from gcl_jax.gradients import GRADIENT_RULES, GradientRule
from gcl_jax.registry import option


@dataclasses.dataclass(frozen=True)
class PerturbedWeights(GradientRule):
    """The gradient at w + sigma * rms(w) * e, with e ~ N(0, 1) drawn anew at each step, rms(w) that of each array.

    `run` leaves what is frozen as it is, whatever it is given.
    """

    sigma: float = option(0.05, "[0, 10]")

    def __call__(self, key, run, params, model_state, batch, t, info):
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        noisy = [
            leaf + self.sigma * jnp.sqrt(jnp.mean(leaf**2)) * jax.random.normal(k, leaf.shape, leaf.dtype)
            for k, leaf in zip(keys, leaves, strict=True)
        ]
        return run(jax.tree.unflatten(tree, noisy), model_state)


GRADIENT_RULES.register("perturbed_weights", PerturbedWeights)
