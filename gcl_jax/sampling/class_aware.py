"""Class-aware sampling: classes in turn, a few images of each."""

import dataclasses

import numpy as np
from jaxtyping import Float, Integer, Real

from gcl_jax.ranges import ranged
from gcl_jax.sampling.base import Generators, Sampler
from gcl_jax.sampling.cycles import draw_from_cycles


@dataclasses.dataclass(frozen=True)
class ClassAware(Sampler):
    """Class-aware: shuffled cycles over classes, ``per_class`` images a class, shuffled cycles inside each class.

    Decoupling's ClassAwareSampler (Kang et al. 2020), used by MiSLAS and OLTR too: p_j = 1 / C, and every C
    blocks hold each class once. All cycles go on over the epochs; a block of ``per_class`` images stays together
    and shows an image twice where it spans the end of a cycle (always in classes smaller than a block).
    Decoupling's loop then permutes each batch, which changes no mean over a batch and is left out here.

    >>> ClassAware().class_probabilities(np.array([9, 1])).tolist()
    [0.5, 0.5]
    """

    per_class: int = ranged(4, "[1, 1000000]")

    def class_probabilities(
        self, counts: Real[np.ndarray, " C"], *, epoch: int = 0, epochs: int = 1
    ) -> Float[np.ndarray, " C"]:
        return np.full(len(counts), 1 / len(counts))

    def indices(
        self, make: Generators, labels: Integer[np.ndarray, " N"], num: int, *, epoch: int = 0, epochs: int = 1
    ) -> Integer[np.ndarray, " num"]:
        # The position in the endless stream says it all: each cycle over the classes draws each of them once.
        block, within = np.divmod(epoch * num + np.arange(num), self.per_class)
        num_classes = int(labels.max()) + 1
        one_group, always = np.zeros(num_classes, np.int64), np.zeros(num, np.int64)
        classes = draw_from_cycles(make("classes"), one_group, always, block)
        turns = block // num_classes * self.per_class + within
        return draw_from_cycles(make("images"), labels, classes, turns).astype(np.int32)
