"""What changes during training."""

from typing import Any

import jax
from flax import struct

Tree = Any


@struct.dataclass
class TrainState:
    """State of a stage; donated to the step.

    ``params`` is the complete tree; what is frozen has no gradient and no optimizer state, and not a bit of it changes.
    ``metric_sums`` holds running sums since the last logged step, so that a logged mean does not depend on where a run
    was cut. ``first_nonfinite`` is `non_finite`'s record of the first step after which a number was not finite; there
    is none in a checkpoint. ``skipped`` is its record of the steps that were skipped, where the config says to skip;
    a checkpoint's note has their numbers.
    """

    step: jax.Array  # int32, updates done in this stage
    params: Tree
    batch_stats: Tree
    opt_state: Tree
    method_state: Tree
    metric_sums: dict[str, jax.Array]
    first_nonfinite: dict[str, jax.Array]
    skipped: dict[str, jax.Array] | None = None
