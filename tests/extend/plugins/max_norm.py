"""A projection once an epoch: MaxNorm of the classifier (Alshammari et al. 2022)."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from gcl_jax import losses
from gcl_jax.methods import LossOut, Method, register
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class MaxNorm(Method):
    """Cross-entropy; after the last update of an epoch each class's weights are cut to a norm of ``radius``."""

    radius: float = ranged(0.5, "[1e-6, 1e6]")

    heads: ClassVar[tuple[str, ...]] = ("linear",)

    def loss(self, key, out, batch, t, info):
        return LossOut(losses.cross_entropy(out["scores"], batch["label"]))

    def after_update(self, params, method_state, t, info):
        kernel = params["head"]["kernel"]  # [D, C]
        norms = jnp.linalg.norm(kernel, axis=0)
        cut = kernel * jnp.minimum(1, self.radius / jnp.maximum(norms, 1e-12))
        head = {**params["head"], "kernel": jnp.where(t.epoch_end, cut, kernel)}
        return {**params, "head": head}, method_state


register("max_norm", MaxNorm)
