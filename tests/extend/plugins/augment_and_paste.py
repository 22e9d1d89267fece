"""Random ops on each image (RandAugment, Cubuk et al. 2020) and boxes pasted from others (CutMix, Yun et al. 2019).

    transforms = {"main": ("random_ops(2,0.3)",)}       mix = "paste_boxes(1.0)"

The package has both for photographs ("randaugment", "cutmix"); these are for images as small as digits.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.ranges import ranged
from gcl_jax.transforms import MIXES, TRANSFORMS, BatchTransform, ImageTransform


@dataclasses.dataclass(frozen=True)
class RandomOps(ImageTransform):
    """``ops`` of five ops, one after the other, each at a strength drawn from U(-``strength``, ``strength``)."""

    ops: int = ranged(2, "[1, 20]")
    strength: float = ranged(0.3, "[0, 1]")

    def __call__(self, key, images, t):
        x = images.astype(jnp.float32)
        for place in range(self.ops):
            amount = jax.random.uniform(rng.fold(key, "amount", place), (len(x),), minval=-1) * self.strength
            chosen = jax.random.randint(rng.fold(key, "op", place), (len(x),), 0, 5)
            x = jax.vmap(lambda i, a, image: jax.lax.switch(i, OPS, a, image))(chosen, amount, x)
        return jnp.round(jnp.clip(x, 0, 255)).astype(images.dtype)


OPS = (
    lambda a, x: x,
    lambda a, x: x + 255 * a,  # brightness
    lambda a, x: (x - x.mean()) * (1 + a) + x.mean(),  # contrast
    lambda a, x: jnp.roll(x, jnp.round(a * x.shape[0]).astype(int), axis=0),
    lambda a, x: jnp.roll(x, jnp.round(a * x.shape[1]).astype(int), axis=1),
)


@dataclasses.dataclass(frozen=True)
class PasteBoxes(BatchTransform):
    """CutMix with another box for every image: its area is 1 - lam of the whole, lam ~ Beta(``alpha``, ``alpha``)."""

    alpha: float = ranged(1.0, "[1e-3, 1000]")

    def __call__(self, key, batches, t):
        image, label = batches["main"]["image"], batches["main"]["label"]
        batch, height, width, _ = image.shape
        order = jax.random.permutation(rng.fold(key, "order"), batch)
        side = jnp.sqrt(1 - jax.random.beta(rng.fold(key, "lam"), self.alpha, self.alpha, (batch,)))
        corner = jax.random.uniform(rng.fold(key, "corner"), (2, batch)) * (1 - side)
        rows, columns = (
            (jnp.arange(n) / n >= low[:, None]) & (jnp.arange(n) / n < (low + side)[:, None])
            for n, low in zip((height, width), corner, strict=True)
        )
        box = rows[:, :, None] & columns[:, None, :]
        mixed = jnp.where(box[..., None], image[order], image)
        seen = 1 - box.mean((1, 2))  # [B], the part of each image that is its own
        targets = ((label, seen), (label[order], 1 - seen))
        return {**batches, "main": {**batches["main"], "image": mixed, "targets": targets}}


TRANSFORMS.register("random_ops", RandomOps)
MIXES.register("paste_boxes", PasteBoxes)
