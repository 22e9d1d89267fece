"""The input of the steps of a stage: index plans, rows and random numbers, pure functions of seed, epoch and step."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jax.sharding import Mesh

from gcl_jax import rng, sampling
from gcl_jax.data import Split
from gcl_jax.data.blocks import blocks
from gcl_jax.data.encoded_images import EncodedImages
from gcl_jax.data.loader import Loader
from gcl_jax.data.process_shard import ProcessShard
from gcl_jax.methods.base import Stream
from gcl_jax.sampling import Sampler
from gcl_jax.training import train_step


class InputPipeline:
    """The batches of the stage ``name`` from the training ``split``: ``batch_size`` images for each of ``streams``.

    ``sampler`` is that of streams that have none of their own; ``epochs`` is what progressive ones need to know.
    ``seeds`` train side by side, and a dispatch gets ``rows`` rows of the plan. Raises UserError for too few images.
    """

    def __init__(
        self,
        name: str,
        split: Split,
        loader: Loader,
        mesh: Mesh,
        *,
        streams: Mapping[str, Stream],
        sampler: Sampler,
        batch_size: int,
        epochs: int,
        seeds: int,
        rows: int,
    ):
        self._name, self._split, self._loader, self._mesh = name, split, loader, mesh
        self._streams = streams
        self._samplers = {stream: spec.sampler or sampler for stream, spec in streams.items()}
        self._batch_size, self._epochs, self._seeds, self._rows = batch_size, epochs, seeds, rows
        self._steps_per_epoch = sampling.steps_per_epoch(len(self._split), batch_size)

    def plan(self, seed: int, epoch: int) -> dict[str, np.ndarray]:
        """The index plan of an epoch for every stream: {name: int32[steps, batch]}."""
        return {
            stream: sampling.epoch_plan(
                sampler,
                functools.partial(rng.numpy_generator, seed, self._name, "plan", stream),
                self._split.labels,
                self._batch_size,
                epoch=epoch,
                epochs=self._epochs,
            )
            for stream, sampler in self._samplers.items()
        }

    def entries(self, seed: int, step: int) -> dict[str, dict]:
        """The examples in the batch of ``step`` (from 1): {stream: {"indices" in the training split, "labels"}}.

        For photographs also their "files".
        """
        epoch, row = divmod(step - 1, self._steps_per_epoch)
        images, examples = self._split.images, {}
        for stream, plan in self.plan(seed, epoch).items():
            indices = plan[row]
            examples[stream] = {"indices": indices.tolist(), "labels": self._split.labels[indices].tolist()}
            if isinstance(images, EncodedImages):
                examples[stream]["files"] = [images.where(i) for i in indices]
        return examples

    def blocks(self, seeds: Sequence[int], epoch: int, first: int, lengths: Iterable[int]) -> Iterator[dict]:
        """The blocks of dispatches of ``lengths`` steps each, from row ``first`` of the epoch's plan on."""
        plans = [self.plan(seed, epoch) for seed in seeds]
        if self._seeds == 1:
            plan = plans[0]
        else:  # [steps, seeds, batch]: a row holds every seed's
            plan = {stream: np.stack([plan[stream] for plan in plans], axis=1) for stream in plans[0]}
        shard = self._process_shard()

        def crop_noise(stream: str, row: int) -> np.ndarray:
            return shard.take(self._crop_noise(seeds, epoch, first, stream, row), axis=0)

        local_plan = {stream: shard.take(rows[first:], axis=1) for stream, rows in plan.items()}
        return blocks(self._loader.rows("train", local_plan, crop_noise), lengths, self._rows, shard.place)

    def _process_shard(self) -> ProcessShard:
        """The entries of a train batch that this process reads."""
        size, steps = self._batch_size, self._rows
        sharding = train_step.block_sharding(self._mesh, self._seeds)
        if self._seeds == 1:
            return ProcessShard(sharding, [steps, size], steps=0)
        return ProcessShard(sharding, [self._seeds, steps, size], steps=1)

    def _crop_noise(self, seeds: Sequence[int], epoch: int, first: int, stream: str, row: int) -> np.ndarray:
        """Random numbers of the crops that a loader makes in a row after ``first``: float32[(seeds,) B, views, n]."""
        shape = (self._batch_size, self._streams[stream].views, self._loader.crop_noise_size)
        keys = (self._name, "crop", stream, epoch, first + row)
        noise = [rng.numpy_generator(seed, *keys).random(shape, np.float32) for seed in seeds]
        return noise[0] if self._seeds == 1 else np.stack(noise)
