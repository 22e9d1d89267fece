"""Metrics that are computed from stored logits when a stage ends: those of `METRICS` that config.eval.metrics names."""

import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gcl_jax.registry import Registry

# (logits float32[N, C], labels int32[N], training images per class int64[C]), not to be written to -> a number, or
# {name: number}. The docstring says whether it is in percent.
Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float | Mapping[str, float]]


def matthews_correlation(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> float:
    """Matthews correlation coefficient of many classes, in [-1, 1] (Gorodkin 2004, eq. 8); 0 where it is undefined.

    >>> matthews_correlation(np.eye(3), np.arange(3), np.ones(3))
    1.0
    """
    num_classes = len(counts)
    predicted = logits.argmax(axis=1)
    true_of_class = np.bincount(labels, minlength=num_classes).astype(np.float64)
    predicted_as_class = np.bincount(predicted, minlength=num_classes).astype(np.float64)
    num = float(len(labels))
    covariance = num * np.sum(predicted == labels) - true_of_class @ predicted_as_class
    scale = (num**2 - true_of_class @ true_of_class) * (num**2 - predicted_as_class @ predicted_as_class)
    return float(covariance / math.sqrt(scale)) if scale > 0 else 0.0


def macro_f1(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN), in percent, over the classes that are true or predicted.

    >>> macro_f1(np.eye(3), np.arange(3), np.ones(3))
    100.0
    """
    num_classes = len(counts)
    predicted = logits.argmax(axis=1)
    hits = np.bincount(labels[predicted == labels], minlength=num_classes)
    either = np.bincount(labels, minlength=num_classes) + np.bincount(predicted, minlength=num_classes)
    there = either > 0
    return float(100 * np.mean(2 * hits[there] / either[there]))


def geometric_mean(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> float:
    """G-mean (Kubat & Matwin 1997): geometric mean of per-class accuracies, in percent; 0 where one of them is.

    Over the classes that have examples.

    >>> geometric_mean(np.eye(3), np.arange(3), np.ones(3))
    100.0
    """
    num_classes = len(counts)
    total = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[logits.argmax(axis=1) == labels], minlength=num_classes)
    recall = hits[total > 0] / total[total > 0]
    return float(100 * np.exp(np.mean(np.log(recall)))) if recall.all() else 0.0


def brier_score(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> float:
    """Mean of sum_j (p_j - [j = y])^2, in [0, 2] (Brier 1950), of the softmax at the method's scale.

    >>> brier_score(np.zeros((1, 2)), np.array([0]), np.ones(2))
    0.5
    """
    del counts
    total = 0.0
    rows = max(1, 2**22 // logits.shape[1])  # at a time, so that no second array of the logits' size is made
    for start in range(0, len(logits), rows):
        part, label = logits[start : start + rows].astype(np.float64), labels[start : start + rows]
        p = np.exp(part - part.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        of_label = p[np.arange(len(p)), label]
        total += np.sum(np.square(p)) + np.sum(1 - 2 * of_label)
    return float(total / len(logits))


METRICS: Registry[Metric] = Registry(
    "metric",
    {"mcc": matthews_correlation, "macro_f1": macro_f1, "g_mean": geometric_mean, "brier": brier_score},
)


def measure(
    names: Iterable[str], logits: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> tuple[dict[str, object], list[str]]:
    """{name: number, or {key: number}} of the metrics of those ``names``, and a line on each that has none.

    A number that is not finite, and whatever a metric cannot be computed for, is None: JSON has no other word for it,
    and a run that is trained is not lost for a metric.

    >>> measure(["g_mean"], np.eye(2, dtype=np.float32), np.array([0, 1]), np.array([3, 1]))
    ({'g_mean': 100.0}, [])
    """
    logits, labels, counts = (array.view() for array in (logits, labels, counts))
    for array in (logits, labels, counts):
        array.flags.writeable = False  # the next metric takes them, too
    measured: dict[str, object] = {}
    problems = []
    for name in names:
        try:
            value = _plain(METRICS[name](logits, labels, counts))
        except Exception as error:  # it is the user's code
            measured[name] = None
            problems.append(f"metric {name!r} failed ({type(error).__name__}: {error})")
            continue
        measured[name] = value
        parts_of = value if isinstance(value, dict) else {"": value}
        if bad := [key for key, part in parts_of.items() if part is None]:
            parts = f" in {', '.join(bad)}" if bad != [""] else ""
            problems.append(f"metric {name!r} is not finite{parts}")
    return measured, problems


def _plain(value: object) -> float | dict[str, float | None] | None:
    """What a metric returned as JSON has it; TypeError where it is neither a number nor numbers by name."""
    if isinstance(value, Mapping):
        return {str(key): _number(number) for key, number in value.items()}
    return _number(value)


def _number(value: Any) -> float | None:
    if not isinstance(value, numbers.Real) and np.shape(value) == () and hasattr(value, "item"):
        value = value.item()  # an array of no axes
    if not isinstance(value, numbers.Real):
        raise TypeError(f"it returned {type(value).__name__}, not a number or numbers by name")
    return float(value) if math.isfinite(value) else None
