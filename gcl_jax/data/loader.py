"""The contract of a loader: how the images that an index plan names reach the jitted step."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gcl_jax.typing import PyTree

if TYPE_CHECKING:
    import jax

CropNoise = Callable[[str, int], np.ndarray]  # (stream, row of the plan) -> random numbers of the crops


class Loader(Protocol):
    """A data set as a source of batches; device and host deliver the same uint8 images for the same plan."""

    @property
    def resident(self) -> bool:
        """Whether batches are gathered on the device, from arrays that live there."""

    @property
    def crop_noise_size(self) -> int:
        """How many random numbers the loader needs for one crop; 0 where crops are made in the step."""

    def arrays(self, split: str) -> "Mapping[str, jax.Array]":
        """The resident arrays of a split, an argument of the step; {} where nothing is resident."""

    def fetch(self, arrays: "Mapping[str, jax.Array]", item: PyTree) -> "tuple[jax.Array, jax.Array]":
        """Pure, inside the step: one item of `rows` as (uint8[B, H, W, c], int32[B])."""

    def rows(
        self, split: str, plan: dict[str, np.ndarray], crop_noise: CropNoise | None = None
    ) -> Iterator[dict[str, PyTree]]:
        """On the host: {stream: item} for each row of the plan {stream: int32[steps, ..., B]}."""
