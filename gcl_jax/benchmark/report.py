"""The report of a measurement: a table for people, and the same as JSON.

Keys of the JSON: ``subject``, ``title``, ``unit`` (what one unit of work is); ``date`` (UTC); ``machine``
{cpu, cores (usable), accelerator (its kind, or null), busy_cores (how many of the cores worked for others, watched
before each round while no contender worked; null where unknown)}; ``versions``; ``rounds``; ``notes``; ``rows``
{contender: row}.

A row has ``seconds`` per unit {median, min, max} over the rounds and ``seconds_by_round``; where it is about
images, ``images_per_unit`` and ``images_per_second`` {median, min, max}; of `input` with photographs, also
``images_per_second_per_core`` and ``per_core`` (the cores). A contender's row adds ``side``
("ours", "torch" or "ceiling"), ``units_per_turn``, ``host_peak_bytes`` (resident, of its process, imports
included), ``device_peak_bytes`` (null on CPU, where that is host memory) and ``kind`` of its device; ours also
``platform``, ``steps_per_call`` (train steps a dispatch) and ``steps`` (of a unit that is an epoch). Of `step`,
ours has ``flops_per_unit``, ``bytes_per_unit`` (the compiler's cost analysis) and ``temp_bytes`` (its memory
analysis), and a ceiling has ``flops_per_unit`` or ``bytes_per_unit``. Of `startup`, runs have ``compile_seconds``.

``ratio``: how many times faster the first row is than the best of torch's, which ``ratio_against`` names: the
median of the rounds' ratios, with ``ratio_min`` and ``ratio_max``. `epoch` has the same for ``ratio_authors_loop``
and ``ratio_device_loop``, `input` with photographs for ``ratio_jitter``. `step` has ``flops_per_second`` and
``bytes_per_second`` (ours, from the median) and each with ``_ceiling`` (the best round). `startup` has
``tensorflow_imported``: by a run that does not need it.
"""

import contextlib
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping

from gcl_jax.benchmark import machine
from gcl_jax.benchmark.subjects import CEILING
from gcl_jax.runtime import backend
from gcl_jax.workdir import results

IDLE = 0.1  # cores
PACKAGES = ("gcl_jax", "jax", "jaxlib", "torch", "pillow", "tensorflow", "tensorflow-cpu")


def complete(subject: str, rounds: int, measured: Mapping) -> dict:
    """What a measurement of ``subject`` found, with when and on what it was found."""
    place = {"cpu": machine.cpu_model(), "cores": backend.cores()}
    place |= {key: measured[key] for key in ("accelerator", "busy_cores")}
    return {
        "subject": subject,
        "title": measured["title"],
        "unit": measured["unit"],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": place,
        "versions": _versions(),
        "code": results.code(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "rounds": rounds,
        **{key: value for key, value in measured.items() if key not in ("title", "unit", *place)},
    }


def _versions():
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def table(report: Mapping) -> str:
    """The report for people."""
    lines = [f"{report['subject']}: {report['title']}", _where(report), ""]
    lines += _rows(report)
    lines += ["", f"median (min .. max) of {report['rounds']} rounds"]
    for key in ("ratio", "ratio_authors_loop", "ratio_device_loop", "ratio_jitter"):
        if key in report:
            lines.append(
                f"{key} {report[key]:.2f} ({report[f'{key}_min']:.2f} .. {report[f'{key}_max']:.2f}): "
                f"speed of {next(iter(report['rows']))} / {report[f'{key}_against']}"
            )
    for what, unit, ceiling in (("flops", "FLOP/s", "matmul"), ("bytes", "B/s", "copy")):
        most = report.get(f"{what}_per_second_ceiling")
        if most and (reached := report.get(f"{what}_per_second")):
            lines.append(f"{_si(reached)}{unit} of the {_si(most)}{unit} that a large {ceiling} reaches here")
        elif most:
            lines.append(f"the compiler does not count {what}; a large {ceiling} reaches {_si(most)}{unit} here")
    if "tensorflow_imported" in report:
        lines.append(f"TensorFlow was {'' if report['tensorflow_imported'] else 'not '}imported by a plain run")
    lines += report["notes"]
    busy = [cores for cores in report["machine"]["busy_cores"] if cores is not None]
    if busy and max(busy) > IDLE:
        lines.append(
            f"NOT TO BE TRUSTED: others kept {max(busy):.1f} of {report['machine']['cores']} cores busy meanwhile, "
            "which slows some contenders many times more than others; measure on an idle machine"
        )
    return "\n".join(lines)


def _where(report):
    place = report["machine"]
    device = f"{place['accelerator']}; " if place["accelerator"] else ""
    versions = " ".join(f"{name} {version}" for name, version in report["versions"].items())
    return f"{report['date']}; {device}{place['cpu']}, {place['cores']} cores\n{versions}"


def _rows(report):
    cells = [["", f"ms per {report['unit']}", "images/s", "images/s a core", "compile s", "peak host", "peak device"]]
    for name, row in report["rows"].items():
        if row.get("side") == CEILING:  # another unit; its line comes below
            continue
        cells.append([
            name,
            _spread(row["seconds"], 1000),
            _spread(row.get("images_per_second")),
            _spread(row.get("images_per_second_per_core")),
            _spread(row.get("compile_seconds")),
            _bytes(row.get("host_peak_bytes")),
            _bytes(row.get("device_peak_bytes")),
        ])  # fmt: skip
    columns = [column for column in zip(*cells, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in zip(*columns, strict=True):
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
    temporaries = [row["temp_bytes"] for row in report["rows"].values() if row.get("temp_bytes")]
    return lines + [f"temporaries of our program: {_bytes(number)}" for number in temporaries]


def _spread(value, factor=1):
    if not value:
        return ""
    median, low, high = (_number(factor * value[key]) for key in ("median", "min", "max"))
    return f"{median} ({low} .. {high})"


def _number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _bytes(number):
    return f"{number / 2**20:.0f} MiB" if number else ""


def _si(number):
    """1.23 G, with the unit still to come."""
    power = next((power for power in (12, 9) if number >= 10**power), 6)
    return f"{number / 10**power:.3g} {'TGM'[4 - power // 3]}"
