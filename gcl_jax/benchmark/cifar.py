"""Random arrays with the shapes of CIFAR-10-LT, ratio 100, and the constants of its recipe; numpy alone."""

import numpy as np

from gcl_jax import longtail

NUM_CLASSES, IMBALANCE_RATIO, NUM_TEST = 10, 100.0, 10_000
SIDE, PADDING = 32, 4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
BATCH, LOG_EVERY = 64, 50
COUNTS = longtail.exponential_counts(5000, NUM_CLASSES, IMBALANCE_RATIO)
STEPS_PER_EPOCH = int(COUNTS.sum()) // BATCH


def split(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8[N, 32, 32, 3] and labels int32[N] of "train" (12,406 of them) or "test" (10,000).

    >>> split("train")[0].shape
    (12406, 32, 32, 3)
    """
    per_class = COUNTS if name == "train" else np.full(NUM_CLASSES, NUM_TEST // NUM_CLASSES)
    labels = np.repeat(np.arange(NUM_CLASSES, dtype=np.int32), per_class)
    generator = np.random.default_rng(len(labels))
    return generator.integers(0, 256, (len(labels), SIDE, SIDE, 3), dtype=np.uint8), labels
