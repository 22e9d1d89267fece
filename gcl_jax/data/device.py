"""The device loader: the whole data set on the accelerator, batches gathered inside the jitted step."""

from collections.abc import Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from gcl_jax.data.dataset import Dataset
from gcl_jax.data.loader import CropNoise
from gcl_jax.runtime import mesh as mesh_lib


class DeviceLoader:
    """Batches by index: uint8 images and labels live on every device, a step receives int32 indices."""

    resident = True
    crop_noise_size = 0

    def __init__(self, dataset: Dataset, mesh: Mesh):
        place = mesh_lib.replicated(mesh)
        self._arrays = {
            name: mesh_lib.place({"image": split.images, "label": split.labels.astype(np.int32)}, place)
            for name, split in dataset.splits.items()
        }

    def arrays(self, split: str) -> dict[str, jax.Array]:
        """Resident arrays of a split, an argument of the step."""
        return self._arrays[split]

    @staticmethod
    def fetch(arrays: Mapping[str, jax.Array], item: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Inside the step: int32[B] -> (uint8 [B, H, W, c], int32[B])."""
        return arrays["image"][item], arrays["label"][item]

    def rows(
        self, split: str, plan: dict[str, np.ndarray], crop_noise: CropNoise | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """On the host, one item per row of the plan {stream: int32[steps, ..., B]}: the indices themselves."""
        del split, crop_noise  # crops are made in the step
        for step in range(len(next(iter(plan.values())))):
            yield {name: rows[step] for name, rows in plan.items()}
