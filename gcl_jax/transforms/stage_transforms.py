"""What a stage does to images: the pipeline of each view of each stream, the mix, and the views of evaluation."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.errors import UserError
from gcl_jax.methods.base import StepInfo
from gcl_jax.transforms.base import BatchTransform
from gcl_jax.transforms.pipeline import Pipeline


@dataclasses.dataclass(frozen=True)
class StageTransforms:
    """Built once for a stage (`gcl_jax.config.build_transforms`); all ends with (x / 255 - mean) / std.

    ``streams`` {name: a pipeline a view}; ``views`` are those of evaluation, () = the image as it is. ``mean`` and
    ``std`` have one entry per channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    streams: Mapping[str, tuple[Pipeline, ...]] = dataclasses.field(default_factory=dict)
    views: tuple[Pipeline, ...] = ()
    mix: BatchTransform | None = None

    def train(self, stream: str, key: jax.Array, images: jax.Array, t: StepInfo | None) -> jax.Array:
        """uint8 [B, H, W, c] -> float32 [B, H', W', c], or [views, B, H', W', c] of several views.

        A loader that crops gives [views, B, H, W, c]. The key of a view is ``key`` folded with its number, from 0.
        """
        cropped = images.ndim == 5
        made = [
            self.normalize(pipe(rng.fold(key, v), images[v] if cropped else images, t))
            for v, pipe in enumerate(self.streams[stream])
        ]
        return _together(made, f"the views of {stream}")

    def evaluate(self, images: jax.Array) -> jax.Array:
        """uint8 [B, H, W, c] -> float32 [B, H', W', c], or [views, B, H', W', c] of two views and more.

        Ops that draw have a fixed key, so that they draw the same for every batch.
        """
        views = self.views or (Pipeline(),)
        made = [self.normalize(pipe(rng.fold(jax.random.key(0), v), images, None)) for v, pipe in enumerate(views)]
        return _together(made, "eval.views")

    def first_view(self, images: jax.Array) -> jax.Array:
        """The first view of evaluation, float32 [B, H', W', c]: features are computed from it."""
        return dataclasses.replace(self, views=self.views[:1]).evaluate(images)

    def normalize(self, images: jax.Array) -> jax.Array:
        """Levels in 0..255 -> normalized float32."""
        mean, std = (jnp.asarray(v, jnp.float32) for v in (self.mean, self.std))
        return (images.astype(jnp.float32) / 255 - mean) / std


def _together(views, what):
    if len({view.shape for view in views}) > 1:
        sizes = ", ".join("{} x {}".format(*view.shape[1:3]) for view in views)
        raise UserError(f"{what} are of several sizes, {sizes}: give all one size")
    return views[0] if len(views) == 1 else jnp.stack(views)
