"""The input pipeline of published PyTorch loops: a DataLoader whose processes transform one image after the other."""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gcl_jax.benchmark import cifar
from gcl_jax.runtime import backend

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

WORKERS = 4  # the published code's, where there are as many cores


class ShuffledPrefix:
    """A sampler: the first ``length`` of a new permutation of 0 .. num - 1 each time."""

    def __init__(self, num: int, length: int):
        self.num, self.length = num, length
        self._generator = np.random.default_rng(0)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(self._generator.permutation(self.num)[: self.length].tolist())


class PillowImages:
    """A data set: padded, cropped and flipped at random with Pillow, then normalized, float32 [3, H, W]."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images, labels
        self._mean, self._std = (np.array(v, np.float32)[:, None, None] for v in (cifar.MEAN, cifar.STD))

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def _generator(self) -> np.random.Generator:
        """Made in the process that draws from it, which torch has seeded differently from the others."""
        import torch

        return np.random.default_rng(torch.initial_seed() % 2**32)

    def __getitem__(self, index: int) -> tuple:
        import torch
        from PIL import Image, ImageOps

        top, left = self._generator.integers(0, 2 * cifar.PADDING + 1, 2).tolist()
        image = ImageOps.expand(Image.fromarray(self.images[index]), cifar.PADDING)
        image = image.crop((left, top, left + cifar.SIDE, top + cifar.SIDE))
        if self._generator.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1) / 255
        return torch.from_numpy((pixels - self._mean) / self._std), int(self.labels[index])


def make_loader(images: np.ndarray, labels: np.ndarray, order: ShuffledPrefix, *, pin_memory: bool) -> "DataLoader":
    """The DataLoader over ``order``; its processes stay from epoch to epoch and sleep in between."""
    from torch.utils.data import DataLoader

    return DataLoader(
        PillowImages(images, labels),
        batch_size=cifar.BATCH,
        sampler=order,
        num_workers=min(WORKERS, backend.cores()),
        persistent_workers=True,
        pin_memory=pin_memory,
        drop_last=True,
    )
