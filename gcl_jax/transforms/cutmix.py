"""CutMix (Yun et al. 2019), and a coin between it and mixup."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.methods.base import StepInfo
from gcl_jax.ranges import ranged
from gcl_jax.transforms.base import BatchTransform
from gcl_jax.transforms.mixup import Mixup


@dataclasses.dataclass(frozen=True)
class CutMix(BatchTransform):
    """A box of x[perm] is pasted into x, in a batch with probability ``p``; weights are the areas that are seen."""

    alpha: float = ranged(1.0, "[1e-3, 1000]")
    p: float = ranged(1.0, "[0, 1]")

    def __call__(self, key: jax.Array, batches: Mapping[str, dict], t: StepInfo) -> dict[str, dict]:
        label = batches["main"]["label"]
        order = jax.random.permutation(rng.fold(key, "permutation"), len(label))
        pasted = {"image": jnp.take(batches["main"]["image"], order, axis=-4), "label": label[order]}
        active = jax.random.uniform(rng.fold(key, "coin")) < self.p
        return {**batches, "main": paste_box(key, batches["main"], pasted, self.alpha, active)}


@dataclasses.dataclass(frozen=True)
class MixupOrCutMix(BatchTransform):
    """A coin for each batch: CutMix with probability ``p_cutmix``, else mixup (timm's)."""

    mixup_alpha: float = ranged(0.8, "[1e-3, 1000]")
    cutmix_alpha: float = ranged(1.0, "[1e-3, 1000]")
    p_cutmix: float = ranged(0.5, "[0, 1]")

    def __call__(self, key: jax.Array, batches: Mapping[str, dict], t: StepInfo) -> dict[str, dict]:
        mixes = (Mixup(self.mixup_alpha), CutMix(self.cutmix_alpha))
        cut = jax.random.uniform(rng.fold(key, "coin")) < self.p_cutmix
        mixed, pasted = (mix(rng.fold(key, type(mix).__name__), batches, t)["main"] for mix in mixes)
        return {**batches, "main": jax.tree.map(lambda a, b: jnp.where(cut, b, a), mixed, pasted)}


def paste_box(key: jax.Array, below: dict, above: dict, alpha: float, active: jax.Array) -> dict:
    """Paste a box of ``above`` into all images of ``below`` where ``active``; ``targets`` has both labels.

    lam ~ Beta(``alpha``, ``alpha``); see `box`. Weights are the parts of the area, 1 and 0 where it is not active.
    """
    image = below["image"]
    height, width = image.shape[-3:-1]
    lam = jax.random.beta(rng.fold(key, "lambda"), alpha, alpha)
    uniform = jax.random.uniform(rng.fold(key, "center"), (2,))
    inside, area = box(lam, uniform, height, width)
    inside &= active
    weight = jnp.where(active, 1 - area / (height * width), 1.0)
    mixed = jnp.where(inside[:, :, None], above["image"], image)
    return {**below, "image": mixed, "targets": ((below["label"], weight), (above["label"], 1 - weight))}


def box(lam: jax.Array, uniform: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """(bool[H, W] which pixels lie in the box, their number as float32).

    The center is floor(``uniform`` * side), the half sides floor(side sqrt(1 - ``lam``)) // 2, clipped at the border.

    >>> inside, area = box(jnp.float32(0.75), jnp.array([0.0, 0.5]), 8, 8)
    >>> inside[:3].astype(int).sum(1).tolist(), area.item()
    ([4, 4, 0], 8.0)
    """
    shape = jnp.array([height, width])
    half = jnp.floor(shape * jnp.sqrt(1 - lam)).astype(jnp.int32) // 2
    center = jnp.minimum(jnp.floor(uniform * shape).astype(jnp.int32), shape - 1)
    low, high = jnp.clip(center - half, 0, shape), jnp.clip(center + half, 0, shape)
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)
    inside = (rows >= low[0]) & (rows < high[0]) & (columns >= low[1]) & (columns < high[1])
    return inside, jnp.prod(high - low).astype(jnp.float32)
