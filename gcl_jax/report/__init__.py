"""Reports on finished runs: pictures and numbers. A new one is a file here and a line in `REPORTS`, or a plugin."""

from gcl_jax.registry import Registry
from gcl_jax.report.base import Report, Request
from gcl_jax.report.embedding_report import embedding as _embedding

REPORTS: Registry[Report] = Registry("report", {"embedding": _embedding})

__all__ = ["REPORTS", "Report", "Request"]
