"""A data source: points around a center for each class, drawn as small images.

--config.data.source=blobs --config.data.name=blobs
"""

import numpy as np

from gcl_jax.data import SOURCES, Source, SourceKind, Split

CLASSES, SIZE = 6, 8


def read(name, path, photos=None):
    """60 training and 20 test images a class, uint8 [8, 8, 1]; ``path`` is not used."""
    generator = np.random.default_rng(0)
    centers = generator.integers(0, 256, (CLASSES, SIZE, SIZE, 1))

    def split(per_class):
        labels = np.repeat(np.arange(CLASSES, dtype=np.int32), per_class)
        noise = generator.normal(0, 60, (len(labels), SIZE, SIZE, 1))
        return Split(np.clip(centers[labels] + noise, 0, 255).astype(np.uint8), labels)

    return Source(name, split(60), split(20), tuple(f"blob {j}" for j in range(CLASSES)))


SOURCES.register("blobs", SourceKind(__name__, named=True))
