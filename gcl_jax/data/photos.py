"""The loader of photographs: a tf.data pipeline that reads, crops and resizes what the index plan names.

Flip, colour jitter and normalisation happen in the jitted step, on uint8 batches.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from gcl_jax.data.dataset import Dataset
from gcl_jax.errors import UserError

PREFETCH = 4  # batches
Draws = Callable[[str, int], np.ndarray]


class PhotoLoader:
    """Batches by value, of files that are decoded ahead of the step by all cores of the host."""

    resident = False

    def __init__(self, dataset: Dataset, mesh: Mesh, resize: int):
        del mesh  # nothing is resident
        try:
            from gcl_jax.data import decode
        except ImportError as error:
            raise UserError(
                "photographs are read through tf.data, which needs TensorFlow: pip install 'gcl_jax[tf]'"
            ) from error
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")  # the accelerator is JAX's
        self._tf, self._decode, self._resize = tf, decode, resize
        self._splits = dataset.splits
        self._paths = {name: split.images.all_paths() for name, split in dataset.splits.items()}
        self.uniforms = decode.UNIFORMS

    def arrays(self, split: str) -> dict[str, jax.Array]:
        """Nothing is resident."""
        del split
        return {}

    @staticmethod
    def fetch(arrays: dict, item: dict) -> tuple[jax.Array, jax.Array]:
        """Inside the step: (uint8 [B, H, W, 3], or [views, B, H, W, 3] of several views; int32[B])."""
        del arrays
        images = item["image"]
        return (jnp.moveaxis(images, 1, 0) if images.ndim == 5 else images), item["label"]

    def rows(
        self, split: str, plan: dict[str, np.ndarray], draws: Draws | None = None
    ) -> Iterator[dict[str, dict[str, np.ndarray]]]:
        """On the host, one batch per row of the plan {stream: int32[steps, ..., B]}, decoded ahead.

        ``draws(stream, row)`` are the random numbers of the crops, float32[..., B, views, uniforms]: images are then
        [..., B, views, H, W, 3], without the axis where there is one view. Without ``draws``, the test's centre crop.

        Raises UserError that names the first image that cannot be read.
        """
        labels = self._splits[split].labels.astype(np.int32)
        streams = {
            name: iter(self._pipeline(split, rows, functools.partial(draws, name) if draws else None))
            for name, rows in plan.items()
        }
        for step in range(len(next(iter(plan.values())))):
            batch = {}
            for name, images in streams.items():
                row = plan[name][step]
                try:
                    image = next(images)
                except self._tf.errors.OpError as error:
                    raise self._culprit(split, row) from error
                views = len(image) // row.size
                shape = (*row.shape, *((views,) if views > 1 else ()), *image.shape[1:])
                batch[name] = {"image": image.reshape(shape), "label": labels[row]}
            yield batch

    def _pipeline(
        self, split: str, rows: np.ndarray, draws: Callable[[int], np.ndarray] | None
    ) -> Iterator[np.ndarray]:
        tf, paths, size = self._tf, self._paths[split], self._splits[split].images.size

        def generate():
            for step, row in enumerate(rows):
                numbers = draws(step).reshape(-1, self.uniforms) if draws else np.zeros((row.size, 1), np.float32)
                yield np.repeat(paths[row.ravel()], len(numbers) // row.size), numbers

        def pixels(path, uniforms):
            encoded = tf.io.read_file(path)
            if draws is None:
                return self._decode.center_crop(encoded, size, self._resize)
            return self._decode.random_resized_crop(encoded, uniforms, size)

        first, numbers = next(generate())
        signature = (tf.TensorSpec(first.shape, tf.string), tf.TensorSpec(numbers.shape, tf.float32))
        steps = tf.data.Dataset.from_generator(generate, output_signature=signature)
        images = steps.unbatch().map(pixels, tf.data.AUTOTUNE, deterministic=True).batch(len(first))
        options = tf.data.Options()
        options.threading.max_intra_op_parallelism = 1  # images side by side, not one over several cores
        return images.prefetch(PREFETCH).with_options(options).as_numpy_iterator()

    def _culprit(self, split: str, row: np.ndarray) -> UserError:
        files = self._splits[split].images
        for path in map(files.full, row.ravel()):
            if reason := self._decode.problem(path):
                return UserError(
                    f"{path} cannot be read ({reason}): mend or remove it, or set "
                    "--config.data.photos.on_bad_image=skip in a new --workdir; python -m gcl_jax.data inspect "
                    "--decode names all such"
                )
        return UserError(f"a batch of {len(row.ravel())} photographs could not be read, but each can now: start again")
