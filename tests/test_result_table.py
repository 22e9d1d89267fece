"""The tables that a run prints: columns that never touch, and what each number is over."""

import numpy as np
import pytest

from gcl_jax import aligned, metrics
from gcl_jax.report.embedding_report import table as report_table
from gcl_jax.workdir import results

HUGE = 16671018435931051.13
NUMBERS = [HUGE, -HUGE, 1e30, 1e308, 5e-324, float("inf"), -float("inf"), float("nan"), 0.0, -1.5, 999999.994, None]


def of_tests(*tests, **data):
    best = {"on_test": {"test_accuracy": 3.0}}
    stages = {f"stage_{i}": {"epochs": 10**i, "best": best, "final": {"test": test}} for i, test in enumerate(tests)}
    fraction = 0.1 if data.get("num_validation") else 0.0
    config = {"data": {"validation_fraction": data.pop("validation_fraction", fraction)}}
    about = {"class_counts": [9, 3, 1], "num_train": 13, "num_test": 7} | data
    return {"config": config, "stages": stages, "data": about}


def a_test(**given):
    names = ("accuracy", "balanced_accuracy", "many", "medium", "few", "macro_recall", "nll", "ece")
    return dict.fromkeys(names, 0.5) | given


def table_lines(text):
    """From the table's head on; what its columns are over stands before it."""
    lines = text.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("stage")) :]


@pytest.mark.parametrize("value", NUMBERS)
def test_columns_stay_apart_for_any_number(value):
    """Every line has as many cells as the head, and all end where their head ends."""
    test = a_test(**dict.fromkeys(results.COLUMNS, value))
    head, rule, *rows = table_lines(results.format_table(of_tests(test, a_test())))[:4]
    heads = head.split()
    assert heads[-2:] == ["ECE", "%"]
    for row in rows:
        assert len(row) == len(head) == len(rule)
        assert len(row.split()) == len(heads) - 1  # "ECE %" is one column
    shown = rows[0].split()
    assert shown[2] == shown[4] == shown[5] == aligned.number(value)
    assert all(len(cell) < 14 for cell in shown)
    several = {"seed_0": of_tests(test, a_test()), "seed_1": of_tests(test, a_test())}
    _, head, rule, *rows = results.format_seeds(
        {"seeds": several, "across_seeds": results.across_seeds(several)}
    ).splitlines()[:5]
    assert {len(row) for row in (head, rule, *rows)} == {len(head)}


@pytest.mark.parametrize("value", [1e30, -1e30, float("inf"), None])
def test_the_reports_columns_stay_apart(value):
    one = {
        "silhouette": value,
        **{half: dict.fromkeys(("between", "nearest", "spread"), value) for half in ("head", "tail")},
    }
    lines = report_table({"a run of a very long name that was cut before": one, "b": one}).splitlines()
    assert [len(line.split()) for line in lines[3:4]] == [8]
    assert lines[2].startswith("a run of a very long name that was cut before  ")


def predictions(labels, predicted):
    labels, predicted = np.array(labels), np.array(predicted)
    ones = np.ones(len(labels), np.float32)
    return metrics.Predictions(labels, predicted, (labels != predicted).astype(int), ones, ones)


@pytest.mark.parametrize(
    ("labels", "predicted", "accuracy", "balanced"),
    [
        ([0] * 8 + [1] * 2, [0] * 10, 80.0, 50.0),
        ([0] * 2 + [1] * 8, [0] * 10, 20.0, 50.0),
        ([0, 0, 0, 2], [0, 0, 1, 2], 75.0, 100 * (2 / 3 + 1) / 2),  # class 1 has no test image
        ([1, 1], [0, 0], 0.0, 0.0),
    ],
)
def test_balanced_accuracy_is_over_classes_and_accuracy_over_images(labels, predicted, accuracy, balanced):
    found = metrics.summarize(predictions(labels, predicted), np.array([150, 50, 5]))
    assert (found["accuracy"], found["balanced_accuracy"]) == pytest.approx((accuracy, balanced))
    assert found["macro_recall"] == found["balanced_accuracy"]
    told = results.format_table(of_tests(found))
    assert table_lines(told)[0].split()[2:5] == ["accuracy", "(best)", "balanced"]
    assert table_lines(told)[2].split()[4] == f"{balanced:.2f}"
    assert "accuracy over the test images; balanced" in told
    assert "over classes" in told
    assert "ECE in %" in told


@pytest.mark.parametrize(
    ("older", "expected"),
    [
        ({"macro_recall": 40.0}, 40.0),
        ({"per_class": [100.0, None, 50.0]}, 75.0),
        ({"per_class": [100.0, None, 50.0], "macro_recall": None}, 75.0),
        ({"per_class": [None]}, None),
        ({}, None),
    ],
)
def test_a_result_of_an_older_version_is_shown_with_it(older, expected):
    test = {k: v for k, v in a_test().items() if k not in ("balanced_accuracy", "macro_recall")} | older
    assert results.balanced_accuracy(test) == expected
    result = of_tests(test)
    assert table_lines(results.format_table(result))[2].split()[4] == aligned.number(expected)
    found = results.across_seeds({"seed_0": result, "seed_1": result})["stage_0"]
    assert found.get("balanced_accuracy", {"mean": None})["mean"] == expected


def test_seeds_of_an_older_version_and_which_they_are():
    across = {"stage": {name: {"mean": 12.5, "std": None} for name in ("accuracy", "macro_recall", "nll", "ece")}}
    told = results.format_seeds({"seeds": {"seed_3": {}, "seed_4": {}}, "across_seeds": across}).splitlines()
    assert told[0].startswith("2 seeds (3, 4), ")
    assert told[3].split() == ["stage", "12.50", "12.50", "-", "-", "-", "12.500", "1250.00"]


@pytest.mark.parametrize("held_out", [0, 1, 29])
def test_what_the_groups_follow_is_said_where_images_are_held_out(held_out):
    told = results.format_table(of_tests(a_test(), num_validation=held_out))
    assert (f"({held_out} held out for validation; the groups are by what is left)" in told) == bool(held_out)


def test_without_a_best_epoch_there_is_no_column_of_it():
    """As of --eval_only, where no evaluation by epoch stands behind the number."""
    result = of_tests(a_test())
    for stage in result["stages"].values():
        stage["best"] = {}
    assert "best" not in results.format_table(result)
    assert "(" not in table_lines(results.format_table(result))[2]


def test_a_published_validation_split_takes_nothing_from_training():
    assert "held out" not in results.format_table(of_tests(a_test(), num_validation=29, validation_fraction=0.0))
