"""Class weights of the loss, from the start or deferred (DRW): the same for every loss that takes them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gcl_jax import class_weights
from gcl_jax.errors import require_one_of
from gcl_jax.methods.base import ClassInfo, Method, StepInfo
from gcl_jax.ranges import ranged


@dataclasses.dataclass(frozen=True)
class Reweighted(Method):
    """A method whose examples weigh by class: w_j = (1 - beta) / (1 - beta^n_j), summing to C (Cui et al. 2019).

    ``reweighting`` is "none", "effective_number", or "deferred": weights of 1 until ``deferred_percent``
    of the stage, then those (DRW, Cao et al. 2019: after epoch 160 of 200). The switch is traced.
    """

    reweighting: str = "none"
    beta: float = ranged(0.9999, "[0, 1)")
    deferred_percent: float = ranged(80.0, "[0, 100]")

    def __post_init__(self):
        super().__post_init__()
        require_one_of("reweighting", self.reweighting, ("none", "effective_number", "deferred"))

    def constants(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """The weights, where there are any."""
        if self.reweighting == "none":
            return {}
        return {"class_weight": class_weights.effective_number_weights(counts, self.beta)}

    def class_weight(self, t: StepInfo, info: ClassInfo) -> jax.Array | None:
        """Weight of each class at this time, [C]; None for no weighting."""
        if self.reweighting == "none":
            return None
        weight = info.constants["class_weight"]
        if self.reweighting == "effective_number":
            return weight
        # The tolerance is far below a step and far above float32's rounding of the fraction.
        return jnp.where(t.fraction >= self.deferred_percent / 100 - 1e-6, weight, 1.0)
