"""Sharpness-aware minimization (Foret et al. 2021)."""

import dataclasses
from typing import ClassVar

import jax
import optax

from gcl_jax.errors import require_one_of
from gcl_jax.gradients.base import GradientRule, Run, StepAux
from gcl_jax.methods.base import ClassInfo, StepInfo
from gcl_jax.registry import option
from gcl_jax.typing import PyTree


@dataclasses.dataclass(frozen=True)
class SAM(GradientRule):
    """The gradient at w + rho * g / (||g|| + 1e-12), g that at w, with one norm over all that trains (eq. 2-3).

    Weight decay is not in g. ``bn_passes`` says which of the two passes move batch norm's running statistics: "both",
    as in the published code of SAM for long tails (Rangwani et al. 2022), or "first". The method's state and the
    metrics are the first pass's.
    """

    rho: float = option(0.05, "[0, 100]")
    bn_passes: str = option("both")

    micro_batches: ClassVar[bool] = False  # the published norm is the whole batch's

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("bn_passes", self.bn_passes, ("both", "first"))

    def __call__(
        self,
        key: jax.Array,
        run: Run,
        params: PyTree,
        model_state: dict[str, PyTree],
        batch: dict,
        t: StepInfo,
        info: ClassInfo,
    ) -> tuple[PyTree, StepAux]:
        gradient, first = run(params, model_state)
        length = self.rho / (optax.global_norm(gradient) + 1e-12)
        nearby = jax.tree.map(lambda w, g: w + length * g, params, gradient)
        gradient, second = run(nearby, first.model_state if self.bn_passes == "both" else model_state)
        return gradient, first._replace(model_state=(second if self.bn_passes == "both" else first).model_state)
