"""The host loader: a tf.data pipeline over the same index plans, for data that do not fit the accelerator.

The sampler's class weights reach it through the plan, whose rows were drawn with them; batches
equal the device loader's bit for bit, since crop and flip happen in the jitted step for both.
"""

from collections.abc import Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from gcl_jax.data.dataset import Dataset
from gcl_jax.data.loader import CropNoise
from gcl_jax.errors import UserError
from gcl_jax.runtime import backend, quiet_tensorflow

PREFETCH = 4  # batches; the pipeline only has to hide one gather


class HostLoader:
    """Batches by value: tf.data gathers uint8 images on the host ahead of the step; UserError without TensorFlow."""

    resident = False
    crop_noise_size = 0

    def __init__(self, dataset: Dataset, mesh: Mesh):
        try:
            tf = quiet_tensorflow.load()
        except ImportError as error:
            raise UserError(
                "data.loader='host' needs TensorFlow: pip install 'gcl_jax[tf]', or use --config.data.loader=device"
            ) from error
        self._tf = tf
        del mesh  # nothing is resident
        with tf.device("CPU"):
            self._tensors = {
                name: (tf.constant(split.images), tf.constant(split.labels.astype(np.int32)))
                for name, split in dataset.splits.items()
            }

    def arrays(self, split: str) -> dict[str, jax.Array]:
        """Nothing is resident."""
        del split
        return {}

    @staticmethod
    def fetch(arrays: Mapping[str, jax.Array], item: dict) -> tuple[jax.Array, jax.Array]:
        """Inside the step: the batch is there already."""
        del arrays
        return item["image"], item["label"]

    def rows(
        self, split: str, plan: dict[str, np.ndarray], crop_noise: CropNoise | None = None
    ) -> Iterator[dict[str, dict[str, np.ndarray]]]:
        """On the host, one batch per row of the plan {stream: int32[steps, ..., B]}, prefetched."""
        del crop_noise  # crops are made in the step
        tf = self._tf
        images, labels = self._tensors[split]

        def gather(rows):
            return {name: {"image": tf.gather(images, i), "label": tf.gather(labels, i)} for name, i in rows.items()}

        pipeline = tf.data.Dataset.from_tensor_slices(plan).map(gather, backend.cores(), deterministic=True)
        options = tf.data.Options()
        options.autotune.enabled = False  # as in `photo_loader`
        yield from pipeline.prefetch(PREFETCH).with_options(options).as_numpy_iterator()
