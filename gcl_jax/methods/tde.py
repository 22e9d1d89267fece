"""De-confound-TDE (Tang et al. 2020): what the optimiser's momentum drags along is subtracted at the test."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from gcl_jax import losses
from gcl_jax.methods.base import SCALE, LossOut, Method
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class TDE(Method):
    """CE on scale * z of a two-part normalized head; at the test z - alpha * effect along the moving feature (eq. 10).

    The moving feature e <- decay * e + mean of the batch's features starts at 0; only its direction matters.
    ``decay`` = 0 takes 1 - 0.1 min(50 lr, 1) from the learning rate, as the published code does on large data sets;
    0.9 on CIFAR. ``alpha`` can be changed after training by config.posthoc.alpha.
    """

    scale: float = ranged(16.0, SCALE)
    alpha: float = ranged(1.0, "[0, 1000]")
    decay: float = ranged(0.9, "[0, 1)")

    heads: ClassVar[tuple[str, ...]] = ("two_part_normalized",)
    posthoc: ClassVar[frozenset[str]] = frozenset({"alpha"})
    requires_epochs: ClassVar[bool] = True  # the moving feature, without which nothing would be subtracted

    def init_state(self, key, variables, info):
        return {"moving_feature": jnp.zeros(variables["params"]["head"]["kernel"].shape[0])}

    def prepare(self, key, streams, t):
        by_rate = 1 - 0.1 * jnp.minimum(50 * t.learning_rate, 1.0)
        return {**streams["main"], "decay": self.decay or by_rate}

    def forward(self, key, apply, variables, method_state, batch, t, info, *, train):
        features, model_state = apply.features(variables, batch["image"], train=train, key=key)
        variables = {**variables, **model_state}
        moving_feature = method_state["moving_feature"]
        if not train:
            out, model_state = apply.head(variables, features, train=False, direction=moving_feature)
            return out, model_state, method_state
        moving_feature = batch["decay"] * moving_feature + jax.lax.stop_gradient(features.pooled.mean(axis=0))
        out, model_state = apply.head(variables, features, train=True, key=key)
        return out, model_state, {"moving_feature": moving_feature}

    def loss(self, key, out, batch, t, info):
        return LossOut(losses.cross_entropy(self.logits(out), batch["label"]))

    def logits(self, out):
        return self.scale * (out["scores"] - self.alpha * out.get("effect", 0.0))
