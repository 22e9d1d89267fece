"""An exponential moving average of the weights as a method: it lives in the method's state, and predicts.

The key ``ema_decay`` does the same for any method; this is for averages that a loss needs as well.
"""

import dataclasses

import optax

from gcl_jax import losses
from gcl_jax.methods import LossOut, Method, register
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class MeanTeacher(Method):
    """Cross-entropy on the raw weights w; predictions with average <- decay * average + (1 - decay) * w."""

    decay: float = ranged(0.9, "[0, 0.9999999]")

    def init_state(self, key, variables, info):
        return {"average": variables["params"]}

    def forward(self, key, apply, variables, method_state, batch, t, info, *, train):
        if not train:
            variables = {**variables, "params": method_state["average"]}
        out, model_state = apply(variables, batch["image"], train=train, key=key)
        return out, model_state, method_state

    def loss(self, key, out, batch, t, info):
        return LossOut(losses.cross_entropy(out["scores"], batch["label"]))

    def after_update(self, params, method_state, t, info):
        return params, {"average": optax.incremental_update(params, method_state["average"], 1 - self.decay)}


register("mean_teacher", MeanTeacher)
