"""Metrics from logits: their values, and what of a metric that fails."""

import json
import types

import numpy as np
import pytest
from tiny import digits, override

from gcl_jax import metrics
from gcl_jax.config import validation
from gcl_jax.errors import UserError
from gcl_jax.metrics import METRICS


def known(num=400, num_classes=7, seed=0, missing=()):
    """Logits that are right half of the time, and labels without the classes ``missing``."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([j for j in range(num_classes) if j not in missing], num)
    logits = rng.standard_normal((num, num_classes)).astype(np.float32)
    logits[np.arange(num), labels] += 1.5
    return logits, labels, np.arange(num_classes, 0, -1)


def value(name, logits, labels, counts):
    return METRICS[name](logits, labels, counts)


CASES = {
    "random": known(),
    "few": known(num=9),
    "absent classes": known(missing=(0, 5)),
    "one class": known(missing=range(1, 7)),
    "all right": (10 * np.eye(4, dtype=np.float32), np.arange(4), np.ones(4)),
    "all one class": (np.array([[1, 0, 0]] * 6, np.float32), np.array([0, 1, 2] * 2), np.ones(3)),
}


@pytest.mark.parametrize("case", CASES)
def test_against_scikit_learn(case):
    sklearn = pytest.importorskip("sklearn.metrics")
    logits, labels, _ = CASES[case]
    predicted = logits.argmax(1)
    assert value("mcc", *CASES[case]) == pytest.approx(sklearn.matthews_corrcoef(labels, predicted))
    theirs = sklearn.f1_score(labels, predicted, average="macro", zero_division=0)
    assert value("macro_f1", *CASES[case]) == pytest.approx(100 * theirs)
    recall = [np.mean(predicted[labels == j] == j) for j in np.unique(labels)]
    assert value("g_mean", *CASES[case]) == pytest.approx(100 * np.prod(recall) ** (1 / len(recall)))


@pytest.mark.parametrize("case", CASES)
def test_brier_by_loop(case):
    logits, labels, _ = CASES[case]
    scores = []
    for z, label in zip(logits.astype(np.float64), labels, strict=True):
        p = np.exp(z) / np.exp(z).sum()
        scores.append(sum((p[j] - (j == label)) ** 2 for j in range(len(p))))
    assert value("brier", *CASES[case]) == pytest.approx(np.mean(scores))


def test_brier_of_the_reference(losses_contrastive):
    logits, labels = (losses_contrastive[f"calibration/{k}"] for k in ("logits", "labels"))
    ours = value("brier", logits, labels, np.ones(5))
    assert ours == pytest.approx(float(losses_contrastive["calibration/all/brier"]), rel=1e-5)


def test_brier_of_large_logits():
    logits = np.array([[1e30, 0], [-1e30, 1e30]], np.float32)
    assert value("brier", logits, np.array([0, 0]), np.ones(2)) == pytest.approx(1.0)


RETURNED = {
    "number": (0.5, 0.5, ""),
    "integer": (3, 3.0, ""),
    "numpy": (np.float32(0.5), 0.5, ""),
    "array": (np.array(0.5), 0.5, ""),
    "names": ({"a": 1, "b": np.float64(2)}, {"a": 1.0, "b": 2.0}, ""),
    "no names": ({}, {}, ""),
    "nan": (float("nan"), None, "metric 'mine' is not finite"),
    "inf in names": ({"a": 1.0, "b": np.inf}, {"a": 1.0, "b": None}, "metric 'mine' is not finite in b"),
    "text": ("0.5", None, "metric 'mine' failed (TypeError: it returned str"),
    "vector": (np.ones(2), None, "metric 'mine' failed (TypeError: it returned ndarray"),
    "nothing": (None, None, "metric 'mine' failed (TypeError: it returned NoneType"),
    "nested": ({"a": {"b": 1}}, None, "metric 'mine' failed (TypeError: it returned dict"),
    "raises": (ZeroDivisionError("a number by 0"), None, "metric 'mine' failed (ZeroDivisionError: a number by 0)"),
}


@pytest.fixture
def mine(monkeypatch):
    """Register a metric that returns, or raises, what is asked."""

    def register(result):
        def metric(logits, labels, counts):
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setitem(METRICS, "mine", metric)

    return register


@pytest.mark.parametrize("name", RETURNED)
def test_whatever_a_metric_returns(mine, name):
    result, expected, message = RETURNED[name]
    mine(result)
    found, problems = metrics.measure(["mine", "g_mean"], *CASES["all right"])
    assert found == {"mine": expected, "g_mean": 100.0}  # the others are not lost
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(problems) == bool(message)
    assert all(problem.startswith(message) for problem in problems)


def test_logits_are_not_changed_for_the_next(mine, monkeypatch):
    """A metric that writes into what it is given fails, and the next sees the logits as they were."""

    def careless(logits, labels, counts):
        logits -= logits.max()
        return 0.0

    monkeypatch.setitem(METRICS, "mine", careless)
    logits, labels, counts = known()
    before = logits.copy()
    found, problems = metrics.measure(["mine", "mcc"], logits, labels, counts)
    assert found["mine"] is None
    assert "read-only" in problems[0]
    np.testing.assert_array_equal(logits, before)


def test_names_are_checked_early(mine):
    mine(1.0)
    validation.validate(override(digits(), {"eval.metrics": ("mine", "mcc")}))
    with pytest.raises(UserError, match=r"a name in config\.eval\.metrics is 'g_men' \(did you mean 'g_mean'\?\)"):
        validation.validate(override(digits(), {"eval.metrics": ("g_men",)}))
    with pytest.raises(UserError, match=r"config\.eval\.metrics is \(1,\); its entries must be text"):
        validation.validate(override(digits(), {"eval.metrics": (1,)}))


def test_a_name_that_every_result_has(monkeypatch):
    monkeypatch.setitem(METRICS, "nll", lambda *_: 0.0)
    with pytest.raises(UserError, match="'nll', which every result has"):
        validation.validate(override(digits(), {"eval.metrics": ("nll",)}))


def test_every_key_of_the_summary_is_kept_from_metrics():
    one = np.zeros(3)
    found = types.SimpleNamespace(label=np.arange(3), predicted=np.arange(3), rank=one, nll=one, confidence=one)
    assert set(metrics.SUMMARY_KEYS) == metrics.summarize(found, np.array([9, 3, 1])).keys()
    assert not set(METRICS) & set(metrics.SUMMARY_KEYS)
