"""Metrics of long-tailed recognition, from per-example predictions; pure numpy."""

import dataclasses

import numpy as np

from gcl_jax import longtail

# What `summarize` returns, in every result.
SUMMARY_KEYS = (
    "accuracy", "balanced_accuracy", "top5", "many", "medium", "few", "few_up_to_20", "mislas_ranges", "macro_recall",
    "nll", "ece", "correct", "num_examples", "per_class",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the network said of each example of a split, once each: arrays of length N.

    ``rank`` counts the classes that score above the true one (0 = the top), ``nll`` is
    -log p_y and ``confidence`` max_j p_j, both float32 at the method's scale s.
    """

    label: np.ndarray
    predicted: np.ndarray
    rank: np.ndarray
    nll: np.ndarray
    confidence: np.ndarray


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error in [0, 1] over equal, right-closed bins (Guo et al. 2017, eq. 3).

    >>> round(calibration_error(np.array([0.9, 0.9], np.float32), np.array([True, False])), 3)
    0.4
    """
    # Edges in the confidences' own precision: a float32 k/15 compared with a float64 edge falls on either side.
    edges = (np.arange(bins + 1) / bins).astype(confidence.dtype)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)  # 1 + rounding stays in the last
    gap = np.bincount(index, confidence.astype(np.float64) - correct, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def confusion(label: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The cells of the confusion matrix that are not 0: rows (true class, predicted class, count), int64[K, 3].

    Sparse, for the whole matrix of iNaturalist's 8,142 classes would take half a gigabyte.

    >>> confusion(np.array([0, 1, 1]), np.array([1, 1, 1])).tolist()
    [[0, 1, 1], [1, 1, 2]]
    """
    pairs, counts = np.unique(np.stack([label, predicted], axis=1).astype(np.int64), axis=0, return_counts=True)
    return np.concatenate([pairs, counts[:, None]], axis=1)


def summarize(predictions: Predictions, counts: np.ndarray) -> dict:
    """All metrics as plain numbers: percents for accuracies, nats for NLL, [0, 1] for ECE.

    ``counts`` are training images per class. "accuracy" is over images; "balanced_accuracy" (its older name here is
    "macro_recall") averages the per-class accuracies of all classes of the test set, and many/medium/few those
    of their classes, None where no class of the test set is in the group; "few_up_to_20" has
    them by the other rule in use, with classes of exactly 20 images among the few. Top-5 is None for five
    classes or fewer.
    """
    correct = predictions.predicted == predictions.label
    num_classes = len(counts)
    total = np.bincount(predictions.label, minlength=num_classes)
    hits = np.bincount(predictions.label, correct, minlength=num_classes)
    present = total > 0
    per_class = np.where(present, 100 * hits / np.maximum(total, 1), np.nan)

    def mean_over(group):
        chosen = per_class[group & present]
        return float(chosen.mean()) if len(chosen) else None

    mislas = longtail.mislas_groups(counts)
    balanced = mean_over(np.ones(num_classes, bool))
    return {
        "accuracy": float(100 * correct.mean()),
        "balanced_accuracy": balanced,
        "top5": float(100 * (predictions.rank < 5).mean()) if num_classes > 5 else None,
        **{name: mean_over(group) for name, group in longtail.shot_groups(counts).items()},
        "few_up_to_20": {name: mean_over(group) for name, group in longtail.shot_groups(counts, max_few=20).items()},
        "mislas_ranges": mislas and {name: mean_over(group) for name, group in mislas.items()},
        "macro_recall": balanced,
        "nll": float(predictions.nll.mean(dtype=np.float64)),
        "ece": calibration_error(predictions.confidence, correct),
        "correct": int(correct.sum()),
        "num_examples": len(correct),
        "per_class": [None if np.isnan(a) else float(a) for a in per_class],
    }
