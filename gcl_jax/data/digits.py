"""scikit-learn's bundled 8 x 8 handwritten digits: real images, offline, 1,797 of them."""

from collections.abc import Mapping

import numpy as np

from gcl_jax.data.dataset import Source, Split

TEST_PER_CLASS = 50


def read(name: str, path: str, photos: Mapping | None = None) -> Source:
    """Digits as uint8 [N, 8, 8, 1]: a balanced test set of 50 per class, the rest for training.

    The training pool is cut to the same number in each class (124, the scarcest), so that a
    long-tailed profile starts from balanced data as it does on CIFAR. ``path`` and ``photos`` are not used.
    """
    del path, photos
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    order = np.random.RandomState(0).permutation(len(labels))
    by_class = [order[labels[order] == j] for j in range(10)]
    pool = min(map(len, by_class)) - TEST_PER_CLASS
    test = np.sort(np.concatenate([p[:TEST_PER_CLASS] for p in by_class]))
    train = np.sort(np.concatenate([p[TEST_PER_CLASS : TEST_PER_CLASS + pool] for p in by_class]))
    whole = Split(images, labels)
    return Source(name, whole.take(train), whole.take(test), tuple(map(str, range(10))))
