"""How a step gets its gradient: once at the parameters, or somewhere near them. A rule is one file and a line here."""

from gcl_jax.gradients.base import GradientRule, Plain, Run, StepAux
from gcl_jax.gradients.sam import SAM
from gcl_jax.registry import OptionRegistry

GRADIENT_RULES: OptionRegistry[GradientRule] = OptionRegistry("gradient rule", {"plain": Plain, "sam": SAM})

__all__ = ["GRADIENT_RULES", "SAM", "GradientRule", "Plain", "Run", "StepAux"]
