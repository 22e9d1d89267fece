"""Ops one after the other, and the two that choose between pipelines."""

import dataclasses
from collections import Counter

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.errors import UserError
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import ImageTransform
from gcl_jax.transforms.levels import apply_to_some


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Image transforms in order; without any, images stay as they are.

    The key of an op is folded with the op's name and, from its second occurrence on, with how often it came before: a
    new op never changes another's draws.
    """

    steps: tuple[ImageTransform, ...] = ()

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        """images [B, H, W, c] in 0..255 -> the same, see `ImageTransform`."""
        seen: Counter = Counter()
        for step in self.steps:
            name = step.key_name or type(step).__name__
            step_key = rng.fold(key, name, seen[name]) if seen[name] else rng.fold(key, name)
            images = step(step_key, images, t)
            seen[name] += 1
        return images


@dataclasses.dataclass(frozen=True)
class Apply(ImageTransform):
    """A pipeline for each image with probability ``p``, as in apply(0.5, blur(p=1.0)|flip)."""

    p: float = ranged(0.5, "[0, 1]")
    pipeline: Pipeline = Pipeline()

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        return apply_to_some(key, self.p, *_alike(self, key, images, t, self.pipeline, Pipeline()))


@dataclasses.dataclass(frozen=True)
class Choose(ImageTransform):
    """``first`` for each image with probability ``p``, else ``second``, as in choose(crop(4)|flip, rotation(15))."""

    first: Pipeline = Pipeline()
    second: Pipeline = Pipeline()
    p: float = ranged(0.5, "[0, 1]")

    def __call__(self, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        return apply_to_some(key, self.p, *_alike(self, key, images, t, self.first, self.second))


def _alike(transform, key, images, t, first, second):
    """The images of two pipelines, of one dtype; UserError for two sizes."""
    made = [pipe(rng.fold(key, name), images, t) for name, pipe in (("first", first), ("second", second))]
    if made[0].shape != made[1].shape:
        sizes = " and ".join("{} x {}".format(*x.shape[1:3]) for x in made)
        raise UserError(f"{type(transform).__name__.lower()} gives images of {sizes}; both must be of one size")
    dtype = jnp.promote_types(made[0].dtype, made[1].dtype)
    return [x.astype(dtype) for x in made]
