"""Contenders that feed photographs at 224 pixels: our tf.data loader, and a PyTorch DataLoader with Pillow."""

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from gcl_jax.benchmark import machine, photographs
from gcl_jax.runtime import backend

if TYPE_CHECKING:
    import torch


class Ours:
    """A unit is 2,048 random-resized crops as uint8 batches on the device; with ``augment`` also the step's part.

    That is flip, color jitter and normalization, which run on an accelerator where there is one.
    """

    images_per_unit = photographs.IMAGES_PER_UNIT

    def __init__(self, root: str, augment: bool = False):
        import jax

        from gcl_jax import data
        from gcl_jax.data.files import Files
        from gcl_jax.runtime import mesh as mesh_lib
        from gcl_jax.transforms import StageTransforms, pipeline

        paths = np.array(photographs.prepare(root), object)
        split = data.Split(Files("", paths, photographs.SIZE), np.zeros(len(paths), np.int32))
        dataset = data.Dataset("photographs", {"train": split, "test": split}, ("one",), np.arange(len(paths)))
        self.loader = data.make_loader("host", dataset, mesh_lib.make_mesh(jax.devices()[:1]))
        steps = pipeline("flip|color_jitter({}, {}, {})".format(*photographs.JITTER))
        stage_transforms = StageTransforms(photographs.MEAN, photographs.STD, {"main": (steps,)})
        self._step = jax.jit(lambda key, images: stage_transforms.train("main", key, images, None)) if augment else None
        self._jax, self.epochs = jax, 0
        self.run(1)

    def run(self, units: int) -> None:
        """Deliver ``units`` times 2,048 images."""
        jax = self._jax
        for _ in range(units):
            generator = np.random.default_rng(self.epochs)
            shape = (self.images_per_unit // photographs.BATCH, photographs.BATCH)
            plan = generator.integers(0, photographs.NUMBER, shape, np.int32)

            def crop_noise(stream, row, generator=generator):
                return generator.random((photographs.BATCH, 1, self.loader.crop_noise_size), np.float32)

            for row in self.loader.rows("train", {"main": plan}, crop_noise):
                images = jax.device_put(row["main"]["image"])
                jax.block_until_ready(self._step(jax.random.key(0), images) if self._step else images)
            self.epochs += 1

    def facts(self) -> dict:
        """Memory, sizes, and where it runs."""
        device = self._jax.devices()[0]
        return _facts() | {"platform": device.platform, "kind": device.device_kind}


class Torch:
    """A unit is 2,048 crops, flipped, with ``jitter`` jittered, and normalized, from a DataLoader of Pillow images."""

    images_per_unit = photographs.IMAGES_PER_UNIT

    def __init__(self, root: str, platform: str, jitter: bool = False):
        from torch.utils.data import DataLoader, RandomSampler

        del platform  # batches stay on the host
        dataset = _PillowPhotographs(photographs.prepare(root), jitter)
        sampler = RandomSampler(dataset, replacement=True, num_samples=self.images_per_unit)
        self.loader = DataLoader(
            dataset,
            batch_size=photographs.BATCH,
            sampler=sampler,
            num_workers=backend.cores(),
            persistent_workers=True,
        )
        self.run(1)

    def run(self, units: int) -> None:
        """Deliver ``units`` times 2,048 images."""
        for _ in range(units):
            for images in self.loader:
                images.shape[0]

    def facts(self) -> dict:
        """Memory and sizes; the DataLoader's processes are not counted."""
        return _facts() | {"kind": "cpu"}


def _facts():
    return {
        "host_peak_bytes": machine.host_peak_bytes(),
        "device_peak_bytes": None,
        "images_per_unit": photographs.IMAGES_PER_UNIT,
        "per_core": backend.cores(),
    }


class _PillowPhotographs:
    """RandomResizedCrop(224), RandomHorizontalFlip, ColorJitter, ToTensor, Normalize as torchvision does them."""

    def __init__(self, paths: list[str], jitter: bool):
        self.paths, self.jitter = paths, jitter
        self._mean, self._std = (np.array(v, np.float32)[:, None, None] for v in (photographs.MEAN, photographs.STD))

    def __len__(self) -> int:
        return len(self.paths)

    @functools.cached_property
    def _generator(self) -> np.random.Generator:
        """Made in the process that draws from it, which torch has seeded differently from the others."""
        import torch

        return np.random.default_rng(torch.initial_seed() % 2**32)

    def __getitem__(self, index: int) -> "torch.Tensor":
        import torch
        from PIL import Image

        image = Image.open(self.paths[index]).convert("RGB")
        size = (photographs.SIZE, photographs.SIZE)
        image = image.resize(size, Image.Resampling.BILINEAR, box=self._box(*image.size))
        if self._generator.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.jitter:
            image = self._jittered(image)
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1) / 255
        return torch.from_numpy((pixels - self._mean) / self._std)

    def _box(self, width, height):
        draw = self._generator
        for _ in range(10):
            area = width * height * draw.uniform(0.08, 1)
            ratio = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                left, top = draw.integers(0, width - w + 1), draw.integers(0, height - h + 1)
                return left, top, left + w, top + h
        return 0, 0, width, height

    def _jittered(self, image):
        from PIL import ImageEnhance

        kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for i in self._generator.permutation(3):
            strength = photographs.JITTER[i]
            image = kinds[i](image).enhance(self._generator.uniform(1 - strength, 1 + strength))
        return image
