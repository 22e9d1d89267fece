"""What an embedding looks like in numbers: how far classes lie from each other, and how tight each is."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from gcl_jax import trained
from gcl_jax.checkpoints import warm_start
from gcl_jax.errors import UserError
from gcl_jax.runtime import backend
from gcl_jax.training.run_context import RunContext
from gcl_jax.workdir import ownership


@dataclasses.dataclass(frozen=True)
class Embedding:
    """Test features float64[N, D] of unit length, labels int[N], training images per class, and class names.

    ``source`` says whose they are: folder, stage and step; ``fingerprint`` is their data set's.
    """

    features: np.ndarray
    labels: np.ndarray
    counts: np.ndarray
    class_names: tuple[str, ...]
    source: Mapping = dataclasses.field(default_factory=dict)
    fingerprint: str = ""


def read(folder: str, stage: str = "") -> Embedding:
    """Test features of a run's ``stage`` (by default its first) from its last checkpoint; of several seeds the first.

    Raises UserError if ``folder`` holds no such run, or its data are not there any more as they were.
    """
    config, seed_folder, name = trained.locate(folder, stage, first=True)
    parts = RunContext(config)
    ownership.require_own_data(
        seed_folder if (seed_folder / "config.json").exists() else seed_folder.parent, parts.dataset
    )
    variables, step = warm_start.read(seed_folder / name / "checkpoints")
    parts.stage(name, 1).require_classes(variables.get("class_names"), str(seed_folder / name))
    with backend.matmul_precision(config.precision):
        features, labels = parts.stage(name, 1).features(variables, "test")
    source = {"folder": str(seed_folder), "stage": name, "step": step}
    names = tuple(parts.dataset.class_names)
    return Embedding(unit(features), labels, parts.dataset.counts, names, source, parts.dataset.fingerprint)


def require_one_data_set(embeddings: Sequence[tuple[str, Embedding]]) -> None:
    """Raise UserError unless all (label, embedding) are of one data set: one legend is theirs."""
    (first, reference), *others = embeddings
    for label, other in others:
        if (other.fingerprint, other.class_names) != (reference.fingerprint, reference.class_names):
            raise UserError(
                f"{first} and {label} are of other data ({_data_of(reference)}, {_data_of(other)}): only runs on "
                "the same training and test images stand side by side"
            )


def _data_of(embedding: Embedding) -> str:
    return f"{len(embedding.class_names)} classes of {embedding.counts.max()} to {embedding.counts.min()} images"


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, float64: cosine classifiers see no more, and scales differ from method to method.

    >>> unit(np.array([[3.0, 4.0]])).tolist()
    [[0.6, 0.8]]
    """
    wide = np.asarray(features, np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def describe(embedding: Embedding) -> dict:
    """Silhouette in [-1, 1], and distances (0 to 2) of unit features, for head and tail halves of the classes.

    "spread" is the mean distance of a class's images to their mean, "nearest" from a class mean to the nearest other
    one, "between" the mean over pairs of means, which lie inside the sphere, that of a loose class further.
    "silhouette" is Rousseeuw's (1987), over all images; None where every class has one image.
    """
    from scipy.spatial.distance import cdist
    from sklearn.metrics import silhouette_score

    classes = np.unique(embedding.labels)
    means = np.stack([embedding.features[embedding.labels == j].mean(0) for j in classes])
    spread = [
        float(np.linalg.norm(embedding.features[embedding.labels == j] - m, axis=1).mean())
        for j, m in zip(classes, means, strict=True)
    ]
    apart = cdist(means, means)
    nearest = (apart + np.diag(np.full(len(classes), np.inf))).min(1)
    order = np.argsort(-embedding.counts[classes], kind="stable")
    halves = {"head": order[: (len(order) + 1) // 2], "tail": order[(len(order) + 1) // 2 :]}
    apart_or_not = len(embedding.labels) > len(classes) > 1  # else it is not defined
    silhouette = float(silhouette_score(embedding.features, embedding.labels)) if apart_or_not else None
    return {
        **embedding.source,
        "images": len(embedding.labels),
        "silhouette": silhouette,
        **{
            name: {
                "classes": [embedding.class_names[classes[i]] for i in half],
                "between": _mean_of_pairs(apart[np.ix_(half, half)]),
                "nearest": float(nearest[half].mean()),
                "spread": float(np.mean(spread, where=np.isin(np.arange(len(classes)), half))),
            }
            for name, half in halves.items()
        },
        "head_to_tail": float(apart[np.ix_(halves["head"], halves["tail"])].mean()),
        "per_class": [
            {
                "name": embedding.class_names[j],
                "training_images": int(embedding.counts[j]),
                "spread": spread[i],
                "nearest": float(nearest[i]),
            }
            for i, j in enumerate(classes)
        ],
    }


def _mean_of_pairs(distances):
    pairs = distances[np.triu_indices(len(distances), 1)]
    return float(pairs.mean()) if len(pairs) else None


def sample(labels: np.ndarray, number: int) -> np.ndarray:
    """Positions of about ``number`` images, as many of each class, the first of each: the same for every run.

    >>> sample(np.array([0, 0, 0, 1, 1]), 4).tolist()
    [0, 1, 3, 4]
    """
    classes = np.unique(labels)
    each = max(number // len(classes), 1)
    return np.sort(np.concatenate([np.where(labels == j)[0][:each] for j in classes]))
