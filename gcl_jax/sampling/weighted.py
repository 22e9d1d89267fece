"""Drawing images with replacement, each with the weight of its class."""

import dataclasses

import numpy as np
from jaxtyping import Float, Integer, Real

from gcl_jax import longtail
from gcl_jax.errors import UserError
from gcl_jax.ranges import ranged
from gcl_jax.sampling.base import Generators, Sampler


@dataclasses.dataclass(frozen=True)
class WithReplacement(Sampler):
    """Base: subclasses say how much one *sample* of each class weighs; drawing is with replacement.

    Class j is drawn with probability p_j = n_j w_j / sum_i n_i w_i and its image uniformly,
    which is torch's WeightedRandomSampler with N draws per epoch. UserError for a class without an image.
    """

    def sample_weights(self, counts: Real[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
        """Un-normalised weight of one sample of each class, float64[C]."""
        raise NotImplementedError

    def class_probabilities(
        self, counts: Real[np.ndarray, " C"], *, epoch: int = 0, epochs: int = 1
    ) -> Float[np.ndarray, " C"]:
        mass = longtail.require_images(counts) * self.sample_weights(counts)
        return mass / mass.sum()

    def indices(
        self, make: Generators, labels: Integer[np.ndarray, " N"], num: int, *, epoch: int = 0, epochs: int = 1
    ) -> Integer[np.ndarray, " num"]:
        generator = make(epoch)
        counts = np.bincount(labels)
        p = self.class_probabilities(counts, epoch=epoch, epochs=epochs)
        classes = np.minimum(np.searchsorted(np.cumsum(p), generator.random(num), side="right"), len(counts) - 1)
        # One sort by class serves all classes at once: no per-class datasets, even with 8,142 of them.
        by_class = np.argsort(labels, kind="stable")
        starts = np.cumsum(counts) - counts
        within = (generator.random(num) * counts[classes]).astype(np.int64)
        return by_class[starts[classes] + within].astype(np.int32)


@dataclasses.dataclass(frozen=True)
class SquareRoot(WithReplacement):
    """Square-root sampling: p_j ~ n_j^(1/2) (Decoupling, eq. 1 with q = 1/2).

    >>> SquareRoot().class_probabilities(np.array([9, 1])).tolist()
    [0.75, 0.25]
    """

    def sample_weights(self, counts: Real[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
        return np.asarray(counts, np.float64) ** -0.5


@dataclasses.dataclass(frozen=True)
class ClassBalanced(WithReplacement):
    """Class-balanced: p_j = 1 / C, each sample weighs 1 / n_j (GCL's published default in stage 2).

    >>> ClassBalanced().class_probabilities(np.array([9, 1])).tolist()
    [0.5, 0.5]
    """

    def sample_weights(self, counts: Real[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
        return 1.0 / np.asarray(counts, np.float64)


@dataclasses.dataclass(frozen=True)
class InverseFrequency(WithReplacement):
    """A sample of class j weighs n_j^-``exponent``: 0 is the data as they are, 1 class-balanced (CMO's foreground).

    >>> InverseFrequency(2.0).class_probabilities(np.array([3, 1])).tolist()
    [0.25, 0.75]
    """

    exponent: float = ranged(1.0, "[0, 10]")

    def sample_weights(self, counts: Real[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
        return np.asarray(counts, np.float64) ** -self.exponent


@dataclasses.dataclass(frozen=True)
class Reversed(WithReplacement):
    """Reversed: p_j ~ n_max / n_j, the mirror of the long tail (BBN).

    >>> Reversed().class_probabilities(np.array([3, 1])).tolist()
    [0.25, 0.75]
    """

    def sample_weights(self, counts: Real[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
        counts = np.asarray(counts, np.float64)
        return counts.max() / counts**2


@dataclasses.dataclass(frozen=True)
class EffectiveNumber(WithReplacement):
    """Effective number: one sample of class j weighs (1 - beta) / (1 - beta^n_j) (Cui et al. 2019).

    >>> EffectiveNumber(beta=0.0).class_probabilities(np.array([3, 1])).tolist()
    [0.75, 0.25]
    """

    beta: float = ranged(0.9999, "[0, 1)")

    def sample_weights(self, counts: Real[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
        n = np.asarray(counts, np.float64)
        return (1 - self.beta) / (1 - self.beta**n)


@dataclasses.dataclass(frozen=True)
class CBEN(WithReplacement):
    """Class-based effective number: rho_j = (1 - beta_j) / (1 - beta_j^n_j) (GCL eq. 11-13).

    beta_j = b * (delta_j - delta_min) / (delta_max - delta_min) + a, delta_j = log n_max - log n_j.
    The defaults a = 0.999, b = 0.0009 are the paper's slides'; the published code has
    a = 0.9999, b = 1e-5, which is nearly class-balanced. Balanced data: beta_j = a.

    >>> CBEN().class_probabilities(longtail.exponential_counts(5000, 10, 100)).round(3)[[0, 9]].tolist()
    [0.286, 0.057]
    """

    a: float = ranged(0.999, "[0, 1)")
    b: float = ranged(0.0009, "(-1, 1)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.a + self.b < 1:
            raise UserError(f"a is {self.a} and b is {self.b}; beta_j runs from a to a + b and must lie in [0, 1)")

    def sample_weights(self, counts: Real[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
        # cloud_sizes is (delta_j - delta_min) / (delta_max - delta_min): delta_min = 0 at the largest class.
        beta = self.b * longtail.cloud_sizes(counts, "log") + self.a
        return (1 - beta) / (1 - beta ** np.asarray(counts, np.float64))
