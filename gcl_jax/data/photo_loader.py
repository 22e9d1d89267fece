"""The loader of photographs: a tf.data pipeline that reads, crops and resizes what the index plan names.

Flip, color jitter and normalization happen in the jitted step, on uint8 batches.
"""

import functools
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from gcl_jax.data.dataset import Dataset
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.loader import CropNoise
from gcl_jax.errors import UserError
from gcl_jax.runtime import backend

PREFETCH = 4  # batches
READ_AHEAD = 2  # batches of records
IMAGES_PER_CORE = 2  # decoded at the same time; tf.data could choose, but its tuning is off: see `_pipeline`


class PhotoLoader:
    """Batches by value, decoded ahead of the step by all cores of the host; UserError without TensorFlow."""

    resident = False

    def __init__(self, dataset: Dataset, mesh: Mesh, resize: int):
        del mesh  # nothing is resident
        try:
            from gcl_jax.data import decode
        except ImportError as error:
            raise UserError(
                "photographs are read through tf.data, which needs TensorFlow: pip install 'gcl_jax[tf]'"
            ) from error
        self._tf, self._decode, self._resize = decode.tf, decode, resize
        self._labels = {name: split.labels.astype(np.int32) for name, split in dataset.splits.items()}
        images = {name: split.images for name, split in dataset.splits.items()}
        self._photographs = {
            name: split_images for name, split_images in images.items() if isinstance(split_images, EncodedImages)
        }
        self.crop_noise_size = decode.CROP_NOISE_SIZE

    def arrays(self, split: str) -> dict[str, jax.Array]:
        """Nothing is resident."""
        del split
        return {}

    @staticmethod
    def fetch(arrays: Mapping[str, jax.Array], item: dict) -> tuple[jax.Array, jax.Array]:
        """Inside the step: (uint8 [B, H, W, 3], or [views, B, H, W, 3] of several views; int32[B])."""
        del arrays
        images = item["image"]
        return (jnp.moveaxis(images, 1, 0) if images.ndim == 5 else images), item["label"]

    def rows(
        self, split: str, plan: dict[str, np.ndarray], crop_noise: CropNoise | None = None
    ) -> Iterator[dict[str, dict[str, np.ndarray]]]:
        """On the host, one batch per row of the plan {stream: int32[steps, ..., B]}, decoded ahead.

        ``crop_noise(stream, row)`` are the random numbers of the crops, float32[..., B, views, crop_noise_size]: images
        are then [..., B, views, H, W, 3], without the axis where there is one view. Without it, the test's center crop.

        Raises UserError that names the first image that cannot be read.
        """
        # TensorFlow keeps references to its generators, so that their inputs are cleared at the end.
        generator_inputs = {
            name: [rows, functools.partial(crop_noise, name) if crop_noise else None] for name, rows in plan.items()
        }
        try:
            yield from self._rows(
                split,
                plan,
                {name: self._pipeline(split, rows_and_noise) for name, rows_and_noise in generator_inputs.items()},
            )
        finally:
            for rows_and_noise in generator_inputs.values():
                rows_and_noise.clear()

    def _rows(self, split, plan, streams):
        labels = self._labels[split]
        for step in range(len(next(iter(plan.values())))):
            batch = {}
            for name, images in streams.items():
                row = plan[name][step]
                try:
                    image = next(images)
                except self._tf.errors.OpError as error:
                    raise self._culprit(split, row, error.message) from error
                views = len(image) // row.size
                shape = (*row.shape, *((views,) if views > 1 else ()), *image.shape[1:])
                batch[name] = {"image": image.reshape(shape), "label": labels[row]}
            yield batch

    def _pipeline(self, split: str, rows_and_noise: list) -> Iterator[np.ndarray]:
        """The images of each row of ``rows_and_noise`` = [rows, crop noise]; ends once that list has been cleared."""
        tf, photographs = self._tf, self._photographs[split]
        size, crops = photographs.size, rows_and_noise[1] is not None

        def numbers(row, crop_noise, step):
            return crop_noise(step).reshape(-1, self.crop_noise_size) if crops else np.zeros((row.size, 1), np.float32)

        def generate():
            step = 0
            while (current := tuple(rows_and_noise)) and step < len(current[0]):
                row = current[0][step]
                drawn = numbers(row, current[1], step)
                yield np.repeat(photographs.handles(row.ravel()), len(drawn) // row.size), drawn
                step += 1

        def pixels(handle, crop_noise):
            encoded = photographs.opened(handle)
            if crops:
                return self._decode.random_resized_crop(encoded, crop_noise, size)
            return self._decode.center_crop(encoded, size, self._resize)

        shape = numbers(rows_and_noise[0][0], rows_and_noise[1], 0).shape
        signature = (tf.TensorSpec(shape[:1], tf.string), tf.TensorSpec(shape, tf.float32))
        steps = tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(READ_AHEAD)
        at_once = IMAGES_PER_CORE * backend.cores()
        images = steps.unbatch().map(pixels, at_once, deterministic=True).batch(shape[0])
        options = tf.data.Options()
        options.threading.max_intra_op_parallelism = 1  # images side by side, not one over several cores
        # The thread that tunes often sleeps on at the end of an epoch, which then waits for a second and more.
        options.autotune.enabled = False
        return images.prefetch(PREFETCH).with_options(options).as_numpy_iterator()

    def _culprit(self, split: str, row: np.ndarray, message: str) -> UserError:
        photographs = self._photographs[split]
        for i in row.ravel().tolist():
            try:
                reason = self._decode.problem(photographs.encoded(i))
            except OSError as error:
                reason = str(error)
            if reason:
                return UserError(f"{photographs.where(i)} cannot be read ({reason}): {photographs.hint}")
        return UserError(
            f"a batch of {row.size} photographs could not be read ({message.splitlines()[0][:200]}), but each can by "
            "itself: start again, with less else in memory"
        )
