"""Metrics against plain loops and against published calibration code."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import Family, relative_error

from gcl_jax import longtail, metrics
from gcl_jax.methods.base import Method
from gcl_jax.training import evaluate

COUNTS = longtail.exponential_counts(500, 10, 100)  # 4 many, 3 medium and 3 few
BINS = 15


def predictions(num=997, num_classes=10, seed=0, classes=None):
    """Softmax predictions of a network that is right about half the time."""
    random = np.random.default_rng(seed)
    label = random.choice(np.arange(num_classes) if classes is None else classes, num)
    logits = random.normal(size=(num, num_classes)).astype(np.float32)
    logits[np.arange(num), label] += 1.0
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    of_label = logits[np.arange(num), label]
    found = metrics.Predictions(
        label=label,
        predicted=logits.argmax(1),
        rank=(logits > of_label[:, None]).sum(1),
        nll=-np.log(p[np.arange(num), label]),
        confidence=p.max(1),
    )
    return found, logits


def per_class_by_loop(found, num_classes):
    """Percent right of each class, None without examples."""
    hits = [[] for _ in range(num_classes)]
    for y, p in zip(found.label, found.predicted, strict=True):
        hits[y].append(bool(p == y))
    return [100 * sum(h) / len(h) if h else None for h in hits]


def bins_by_loop(confidence, correct):
    """(counts, accuracy, mean confidence) of 15 right-closed bins, each example compared with every edge."""
    edges = [confidence.dtype.type(k / BINS) for k in range(BINS + 1)]
    members = [[] for _ in range(BINS)]
    for i, c in enumerate(confidence):
        inside = [k for k in range(BINS) if edges[k] < c <= edges[k + 1]]
        members[inside[0] if inside else (BINS - 1 if c > 1 else 0)].append(i)

    def means(values):
        return [float(np.mean(np.asarray(values, np.float64)[m])) if m else 0.0 for m in members]

    return [len(m) for m in members], means(correct), means(confidence)


def ece_by_loop(confidence, correct):
    counts, accuracy, mean_confidence = bins_by_loop(confidence, correct)
    return sum(n * abs(a - c) for n, a, c in zip(counts, accuracy, mean_confidence, strict=True)) / sum(counts)


def test_accuracy_counts_right_predictions():
    found, _ = predictions()
    right = sum(int(p == y) for p, y in zip(found.predicted, found.label, strict=True))
    summary = metrics.summarize(found, COUNTS)
    assert (summary["correct"], summary["num_examples"]) == (right, 997)
    assert summary["accuracy"] == pytest.approx(100 * right / 997)


def test_top5_is_membership_in_the_five_highest_scores():
    found, logits = predictions()
    inside = [y in np.argsort(-row)[:5] for y, row in zip(found.label, logits, strict=True)]
    assert metrics.summarize(found, COUNTS)["top5"] == pytest.approx(100 * np.mean(inside))


def test_top5_of_five_classes_is_none():
    found, _ = predictions(num_classes=5)
    assert metrics.summarize(found, np.full(5, 10))["top5"] is None


def test_per_class_accuracy():
    found, _ = predictions()
    assert metrics.summarize(found, COUNTS)["per_class"] == pytest.approx(per_class_by_loop(found, 10))


def test_shot_accuracies_average_their_classes():
    found, _ = predictions()
    accuracy = per_class_by_loop(found, 10)
    summary = metrics.summarize(found, COUNTS)
    chosen = {
        "many": [a for a, n in zip(accuracy, COUNTS, strict=True) if n > 100],
        "medium": [a for a, n in zip(accuracy, COUNTS, strict=True) if 20 <= n <= 100],
        "few": [a for a, n in zip(accuracy, COUNTS, strict=True) if n < 20],
    }
    assert all(chosen.values())
    assert {name: summary[name] for name in chosen} == pytest.approx({k: np.mean(v) for k, v in chosen.items()})


def test_classes_of_exactly_20_images_are_medium_or_few():
    """Both rules of the field, of five test images each: classes of 200, 20 and 5 images, 100, 60 and 20 % right."""
    label = np.repeat(np.arange(3), 5)
    predicted = np.where(np.arange(15) % 5 < np.repeat([5, 3, 1], 5), label, (label + 1) % 3)
    unused = np.zeros(15, np.float32)
    found = metrics.Predictions(label, predicted, unused.astype(np.int32), unused, unused)
    summary = metrics.summarize(found, np.array([200, 20, 5]))
    assert (summary["many"], summary["medium"], summary["few"]) == pytest.approx((100, 60, 20))
    assert summary["few_up_to_20"] == {"many": pytest.approx(100), "medium": None, "few": pytest.approx(40)}


def test_mislas_ranges_average_three_four_and_three_classes():
    found, _ = predictions()
    accuracy = per_class_by_loop(found, 10)
    expected = {"many": np.mean(accuracy[:3]), "medium": np.mean(accuracy[3:7]), "few": np.mean(accuracy[7:])}
    assert metrics.summarize(found, COUNTS)["mislas_ranges"] == pytest.approx(expected)


def test_mislas_ranges_are_none_where_undefined():
    found, _ = predictions(num_classes=6)
    assert metrics.summarize(found, np.full(6, 10))["mislas_ranges"] is None


def test_macro_recall_is_the_mean_over_classes():
    found, _ = predictions()
    assert metrics.summarize(found, COUNTS)["macro_recall"] == pytest.approx(np.mean(per_class_by_loop(found, 10)))


def test_nll_is_the_mean_in_float64():
    found, _ = predictions()
    assert metrics.summarize(found, COUNTS)["nll"] == pytest.approx(sum(float(v) for v in found.nll) / 997, rel=1e-12)


def test_ece_equals_the_loop():
    found, _ = predictions()
    expected = ece_by_loop(found.confidence, found.predicted == found.label)
    assert metrics.summarize(found, COUNTS)["ece"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(dtype):
    edges = (np.arange(1, BINS + 1) / BINS).astype(dtype)
    for below, edge in zip(edges - dtype(0.01), edges, strict=True):
        # Gaps of opposite sign cancel in one bin, and add up to 0.005 over two.
        target = np.full(2, (float(below) + float(edge)) / 2)
        assert metrics.calibration_error(np.array([below, edge]), target) == pytest.approx(0, abs=1e-7)


def test_confidence_above_one_by_rounding_stays_in_the_last_bin():
    above = np.nextafter(np.float32(1), np.float32(2))
    assert metrics.calibration_error(np.array([above], np.float32), np.array([True])) == pytest.approx(0, abs=1e-6)


def summary_of_reference(reference, num):
    """Our metrics of the reference's logits, through the evaluation step."""

    def apply(variables, images, *, train, key=None):
        return {"scores": images}, {}

    images_as_they_are = SimpleNamespace(evaluate=lambda images: images)
    step = evaluate.make_eval_step(apply, Method(), images_as_they_are, lambda arrays, item: item)
    logits, labels = (jnp.asarray(reference[f"calibration/{k}"][:num]) for k in ("logits", "labels"))
    out = step(({}, {}), None, {}, (logits, labels))
    del out["stored"]
    return metrics.Predictions(**{k: np.asarray(v) for k, v in jax.device_get(out).items()})


@pytest.mark.parametrize("part", ["interior", "all"])
def test_calibration_of_the_reference(losses_contrastive, part):
    """`all` has rows exactly on a bin's edge and rows at confidence 1."""
    num = int(losses_contrastive["calibration/num_interior"]) if part == "interior" else None
    found = summary_of_reference(losses_contrastive, num)
    theirs = Family(losses_contrastive, f"calibration/{part}/")
    counts, accuracy, confidence = bins_by_loop(found.confidence, found.predicted == found.label)
    summary = metrics.summarize(found, np.full(5, 10))
    assert counts == theirs["bin_counts"].tolist()
    assert relative_error(accuracy, theirs["bin_accuracy"]) <= 1e-5
    assert relative_error(confidence, theirs["bin_confidence"]) <= 1e-5
    assert relative_error(summary["accuracy"] / 100, theirs["accuracy"]) <= 1e-5
    assert relative_error(np.mean(found.confidence, dtype=np.float64), theirs["mean_confidence"]) <= 1e-5
    for name in (
        "nll",
        "ece",
        "nll_torch_float32",
        "ece_temperature_scaling_float32",
        "nll_sklearn",
        "ece_torchmetrics",
    ):
        if name in theirs.values:  # the last two are given where no example lies on an edge
            assert relative_error(summary[name.split("_")[0]], theirs[name]) <= 1e-5, name
    assert theirs.unread() <= {"brier", "mce", "mce_torchmetrics"}  # not built


def test_calibration_on_float64_edges(losses_contrastive):
    confidence, correct = (losses_contrastive[f"calibration/edge_float64/{k}"] for k in ("confidence", "correct"))
    assert bins_by_loop(confidence, correct)[0] == losses_contrastive["calibration/edge_float64/bin_counts"].tolist()
    ours = metrics.calibration_error(confidence, correct)
    assert relative_error(ours, losses_contrastive["calibration/edge_float64/ece"]) <= 1e-5


def test_empty_shot_group_is_none():
    found, _ = predictions()
    summary = metrics.summarize(found, np.full(10, 5000))
    assert (summary["medium"], summary["few"]) == (None, None)
    assert summary["many"] == pytest.approx(summary["macro_recall"])


def test_class_absent_from_the_test_set_counts_nowhere():
    found, _ = predictions(classes=[0, 1, 2, 4, 5, 6])  # all of the few-shot classes are missing
    summary = metrics.summarize(found, COUNTS)
    accuracy = per_class_by_loop(found, 10)
    assert [j for j, a in enumerate(summary["per_class"]) if a is None] == [3, 7, 8, 9]
    assert summary["macro_recall"] == pytest.approx(np.mean([a for a in accuracy if a is not None]))
    assert summary["few"] is None


def test_confusion_counts_pairs():
    found, _ = predictions(num=300)
    cells = metrics.confusion(found.label, found.predicted)
    assert cells[:, 2].min() > 0
    assert cells[:, 2].sum() == len(found.label)
    for true, predicted, count in cells:
        assert count == np.sum((found.label == true) & (found.predicted == predicted))
    assert len({(t, p) for t, p, _ in cells.tolist()}) == len(cells)


def test_confusion_of_small_integer_labels_does_not_overflow():
    label = np.array([99, 99, 99, 99], np.int8)
    assert metrics.confusion(label, label).tolist() == [[99, 99, 4]]


def test_metrics_of_inaturalist_need_no_matrix():
    """8,142 classes, three test images each, as many as the real test set; the shots by counts of 1 to 8,142."""
    label = np.repeat(np.arange(8142), 3)
    predicted = np.where(np.arange(len(label)) % 3 == 0, label, 0)
    unused = np.zeros(len(label), np.float32)
    summary = metrics.summarize(metrics.Predictions(label, predicted, unused, unused, unused), np.arange(8142) + 1)
    assert summary["accuracy"] == pytest.approx(100 * (8142 + 2) / len(label))
    cells = metrics.confusion(label * 100_000, predicted * 100_000)  # whose whole matrix no machine could hold
    assert len(cells) == 2 * 8142 - 1


@pytest.mark.parametrize("classes", [None, [0]])
def test_summary_is_strict_json(classes):
    found, _ = predictions(classes=classes)
    text = json.dumps(metrics.summarize(found, COUNTS), allow_nan=False)
    assert json.loads(text)["num_examples"] == 997
