"""The contract of a gradient rule, and the plain one."""

import dataclasses
from typing import ClassVar, NamedTuple, Protocol

import jax

from gcl_jax.methods.base import ClassInfo, StepInfo
from gcl_jax.ranges import check_fields
from gcl_jax.typing import PyTree


class StepAux(NamedTuple):
    """What a forward pass leaves beside its gradient."""

    model_state: dict[str, PyTree]
    method_state: PyTree
    metrics: dict[str, jax.Array]


class Run(Protocol):
    """One forward and one backward pass of this step's batch, always with the same dropout, noise and mixing."""

    def __call__(
        self, params: PyTree, model_state: dict[str, PyTree], example_weights: jax.Array | None = None
    ) -> tuple[PyTree, StepAux]:
        """(gradient, aux) of the loss at ``params``; with ``example_weights`` [B], of the mean of weight * loss.

        What is frozen has the gradient 0, so that norms over the whole tree are those over what trains; and it is as in
        training, whatever ``params`` holds there.
        """


@dataclasses.dataclass(frozen=True)
class GradientRule:
    """Base of all rules; its `registry.option` fields are keys of a stage's ``gradient`` block.

    ``micro_batches`` says whether it makes sense for parts of a batch in turn.
    """

    micro_batches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

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
        """The gradient for the optimizer, and what the step goes on with; draws come from ``key``."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Plain(GradientRule):
    """The gradient at the parameters."""

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
        return run(params, model_state)
