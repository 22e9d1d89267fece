"""A state that switches at an epoch's end: class means of the last epoch, while this one's are taken (as in ProCo)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from gcl_jax import losses
from gcl_jax.methods import LossOut, Method, register
from gcl_jax.ranges import ranged
from gcl_jax.vectors import normalize


@dataclasses.dataclass(frozen=True)
class TwoEstimators(Method):
    """Cross-entropy, and one of the cosines to the class means of the epoch before (Du et al. 2024 has a mixture).

    With an epoch's first update the means that were taken become those that are used, and others begin.
    """

    weight: float = ranged(0.5, "[0, 100]")
    scale: float = ranged(8.0, "[1e-6, 1e4]")

    heads: ClassVar[tuple[str, ...]] = ("linear",)

    def init_state(self, key, variables, info):
        kernel = variables["params"]["head"]["kernel"]
        empty = {"sum": jnp.zeros(kernel.shape[::-1]), "count": jnp.zeros(kernel.shape[1])}
        return {"old": empty, "new": empty, "epoch": jnp.int32(0)}

    def forward(self, key, apply, variables, method_state, batch, t, info, *, train):
        out, model_state = apply(variables, batch["image"], train=train, key=key)
        if not train:
            return out, model_state, method_state
        # Not t.epoch_start alone: with micro_batches that holds for several calls, and a step that is skipped never is.
        switch = t.epoch != method_state["epoch"]
        old, new = method_state["old"], method_state["new"]
        old = jax.tree.map(lambda a, b: jnp.where(switch, b, a), old, new)
        new = jax.tree.map(lambda a: jnp.where(switch, 0.0, a), new)
        member = jax.nn.one_hot(batch["label"], len(old["count"]))
        features = jax.lax.stop_gradient(normalize(out["features"], axis=1))
        new = {"sum": new["sum"] + member.T @ features, "count": new["count"] + member.sum(0)}
        return out | {"means": old}, model_state, {"old": old, "new": new, "epoch": t.epoch}

    def loss(self, key, out, batch, t, info):
        means = normalize(out["means"]["sum"] + 1e-6, axis=1)
        cosine = normalize(out["features"], axis=1) @ means.T
        contrast = losses.cross_entropy(self.scale * cosine, batch["label"])
        there = jnp.any(out["means"]["count"] > 0)  # not in the first epoch
        return LossOut(losses.cross_entropy(out["scores"], batch["label"]) + self.weight * there * contrast)


register("two_estimators", TwoEstimators)
