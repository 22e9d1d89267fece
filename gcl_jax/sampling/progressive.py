"""Progressively-balanced sampling: from the data's distribution to a uniform one."""

import dataclasses

import numpy as np
from jaxtyping import Float, Integer, Real

from gcl_jax.sampling.base import Generators, Sampler
from gcl_jax.sampling.cycles import draw_from_cycles


@dataclasses.dataclass(frozen=True)
class Progressive(Sampler):
    """Progressively-balanced: p_j(e) = (1 - l) n_j / N + l / C with l = e / (E - 1), e from 0 (Decoupling).

    The first epoch is instance-balanced, the last class-balanced; a single epoch is instance-balanced. Classes are
    drawn by p_j, images from that class's shuffled cycle, which goes on over the epochs.

    >>> Progressive().class_probabilities(np.array([3, 1]), epoch=1, epochs=3).tolist()
    [0.625, 0.375]
    """

    def class_probabilities(
        self, counts: Real[np.ndarray, " C"], *, epoch: int = 0, epochs: int = 1
    ) -> Float[np.ndarray, " C"]:
        counts = np.asarray(counts, np.float64)
        balance = epoch / max(epochs - 1, 1)
        return (1 - balance) * counts / counts.sum() + balance / len(counts)

    def indices(
        self, make: Generators, labels: Integer[np.ndarray, " N"], num: int, *, epoch: int = 0, epochs: int = 1
    ) -> Integer[np.ndarray, " num"]:
        counts = np.bincount(labels)
        # How often each class comes in an epoch is drawn first, in which order afterwards: together the same as
        # drawing the classes one by one, but where a class stands in its cycle costs C numbers for each epoch before.
        drawn = [
            make("counts", e).multinomial(num, self.class_probabilities(counts, epoch=e, epochs=epochs))
            for e in range(epoch + 1)
        ]
        in_order = np.repeat(np.arange(len(counts)), drawn[epoch])
        classes = make("order", epoch).permutation(in_order)
        first = sum(drawn[:epoch], np.zeros_like(counts)) - (np.cumsum(drawn[epoch]) - drawn[epoch])
        turns = np.empty(num, np.int64)
        turns[np.argsort(classes, kind="stable")] = first[in_order] + np.arange(num)
        return draw_from_cycles(make("images"), labels, classes, turns).astype(np.int32)
