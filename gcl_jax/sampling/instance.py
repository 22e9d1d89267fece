"""Instance-balanced sampling."""

import dataclasses

import numpy as np

from gcl_jax.sampling.base import Generators, Sampler


@dataclasses.dataclass(frozen=True)
class Instance(Sampler):
    """Instance-balanced: every image once per epoch, shuffled; p_j = n_j / N.

    >>> Instance().class_probabilities(np.array([3, 1])).tolist()
    [0.75, 0.25]
    """

    def class_probabilities(self, counts: np.ndarray, *, epoch: int = 0, epochs: int = 1) -> np.ndarray:
        counts = np.asarray(counts, np.float64)
        return counts / counts.sum()

    def indices(self, make: Generators, labels: np.ndarray, num: int, *, epoch: int = 0, epochs: int = 1) -> np.ndarray:
        generator = make(epoch)
        rounds = -(-num // len(labels))
        return np.concatenate([generator.permutation(len(labels)) for _ in range(rounds)])[:num].astype(np.int32)
