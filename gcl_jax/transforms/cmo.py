"""CMO (Park et al. 2022): images of rare classes pasted onto the ordinary batch."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from gcl_jax import rng
from gcl_jax.methods.base import StepInfo, Stream
from gcl_jax.ranges import ranged
from gcl_jax.sampling.weighted import InverseFrequency
from gcl_jax.transforms.base import BatchTransform
from gcl_jax.transforms.cutmix import paste_box

FOREGROUND = "foreground"


@dataclasses.dataclass(frozen=True)
class CMO(BatchTransform):
    """A box from a second stream, drawn with p_i ~ n^-``exponent``, in a batch with probability ``p``.

    Active in epochs (from 0) after ``start`` and before epochs - ``end``. lam ~ Beta(``alpha``, ``alpha``).
    """

    exponent: float = ranged(1.0, "[0, 10]")
    alpha: float = ranged(1.0, "[1e-3, 1000]")
    p: float = ranged(0.5, "[0, 1]")
    start: int = ranged(3, "[-1, 1000000]")
    end: int = ranged(3, "[0, 1000000]")

    def streams(self) -> Mapping[str, Stream]:
        return {FOREGROUND: Stream(sampler=InverseFrequency(self.exponent))}

    def __call__(self, key: jax.Array, batches: Mapping[str, dict], t: StepInfo) -> dict[str, dict]:
        kept = {name: batch for name, batch in batches.items() if name != FOREGROUND}
        heads = jax.random.uniform(rng.fold(key, "coin")) < self.p
        active = heads & (t.epoch > self.start) & (t.epoch < t.epochs - self.end)
        main = paste_box(key, batches["main"], batches[FOREGROUND], self.alpha, jnp.asarray(active))
        return {**kept, "main": main}
