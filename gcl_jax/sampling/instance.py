"""Instance-balanced sampling."""

import dataclasses

import numpy as np
from jaxtyping import Float, Integer, Real

from gcl_jax.sampling.base import Generators, Sampler


@dataclasses.dataclass(frozen=True)
class Instance(Sampler):
    """Instance-balanced: every image once per epoch, shuffled; p_j = n_j / N.

    >>> Instance().class_probabilities(np.array([3, 1])).tolist()
    [0.75, 0.25]
    """

    def class_probabilities(
        self, counts: Real[np.ndarray, " C"], *, epoch: int = 0, epochs: int = 1
    ) -> Float[np.ndarray, " C"]:
        counts = np.asarray(counts, np.float64)
        return counts / counts.sum()

    def indices(
        self, make: Generators, labels: Integer[np.ndarray, " N"], num: int, *, epoch: int = 0, epochs: int = 1
    ) -> Integer[np.ndarray, " num"]:
        generator = make(epoch)
        rounds = -(-num // len(labels))
        return np.concatenate([generator.permutation(len(labels)) for _ in range(rounds)])[:num].astype(np.int32)
