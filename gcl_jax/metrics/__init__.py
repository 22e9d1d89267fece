"""Metrics of long-tailed recognition; pure numpy."""

from gcl_jax.metrics.from_logits import METRICS, Metric, measure
from gcl_jax.metrics.summary import SUMMARY_KEYS, Predictions, calibration_error, confusion, summarize

__all__ = [
    "METRICS",
    "SUMMARY_KEYS",
    "Metric",
    "Predictions",
    "calibration_error",
    "confusion",
    "measure",
    "summarize",
]
