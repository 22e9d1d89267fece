"""What a sampler is, and the plan of an epoch made with one."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Integer, Real

from gcl_jax.errors import UserError
from gcl_jax.ranges import check_fields

# make(*names) -> the generator of a named draw of one stream, the same at every call: `rng.numpy_generator` with
# seed, stage and stream filled in. Names are words and numbers, such as ("cycles",) or (epoch,).
Generators = Callable[..., np.random.Generator]


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Base: a frozen dataclass of hyper-parameters, without state.

    An epoch's indices may depend on the epoch's number and on nothing drawn before it, so that a resumed run
    draws what the undisturbed one would have drawn.
    """

    def __post_init__(self) -> None:
        check_fields(self)

    def class_probabilities(
        self, counts: Real[np.ndarray, " C"], *, epoch: int = 0, epochs: int = 1
    ) -> Float[np.ndarray, " C"]:
        """Probability of drawing each class, float64[C], summing to 1; ``epoch`` counts from 0."""
        raise NotImplementedError

    def indices(
        self, make: Generators, labels: Integer[np.ndarray, " N"], num: int, *, epoch: int = 0, epochs: int = 1
    ) -> Integer[np.ndarray, " num"]:
        """The ``num`` training indices of one epoch, int32[num]; every epoch has the same ``num``.

        ``labels`` int[N] number the classes without gaps.
        """
        raise NotImplementedError


def epoch_plan(
    sampler: Sampler,
    make: Generators,
    labels: Integer[np.ndarray, " N"],
    batch_size: int,
    *,
    epoch: int = 0,
    epochs: int = 1,
) -> Integer[np.ndarray, "steps {batch_size}"]:
    """The index plan of one epoch, int32[steps, batch_size] with steps = N // batch_size (remainder dropped).

    Raises UserError when the training set is smaller than one batch.

    >>> from functools import partial
    >>> from gcl_jax import rng, sampling
    >>> make = partial(rng.numpy_generator, 0, "representation", "plan", "main")
    >>> epoch_plan(sampling.Instance(), make, np.zeros(5, int), 2).shape
    (2, 2)
    """
    steps = steps_per_epoch(len(labels), batch_size)
    flat = sampler.indices(make, labels, steps * batch_size, epoch=epoch, epochs=epochs)
    return flat.reshape(steps, batch_size)


def steps_per_epoch(num_train: int, batch_size: int) -> int:
    """N // batch_size, at least one; UserError for a batch_size outside 1..N.

    >>> steps_per_epoch(12406, 64)
    193
    """
    if not 1 <= batch_size <= num_train:
        raise UserError(
            f"batch_size is {batch_size} but there are {num_train} training images: choose 1 to {num_train}"
        )
    return num_train // batch_size
