"""Mixup (Zhang et al. 2018)."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import BatchTransform


@dataclasses.dataclass(frozen=True)
class Mixup(BatchTransform):
    """x <- lam x + (1 - lam) x[perm]: one lam ~ Beta(``alpha``, ``alpha``) and one permutation a batch."""

    alpha: float = ranged(1.0, "[1e-3, 1000]")

    def __call__(self, key: jax.Array, batches: Mapping[str, dict], t: StepInfo) -> dict[str, dict]:
        image, label = batches["main"]["image"], batches["main"]["label"]
        lam = jax.random.beta(rng.fold(key, "lambda"), self.alpha, self.alpha, dtype=image.dtype)
        order = jax.random.permutation(rng.fold(key, "permutation"), len(label))
        mixed = lam * image + (1 - lam) * jnp.take(image, order, axis=-4)
        targets = ((label, lam), (label[order], 1 - lam))
        return {**batches, "main": {**batches["main"], "image": mixed, "targets": targets}}
