"""A measured table as Markdown and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from gcl_jax import config as config_lib
from gcl_jax.saved.results import COLUMNS
from gcl_jax.table import significance
from gcl_jax.table.declared import Table
from gcl_jax.table.plan import Cell, column_name, title
from gcl_jax.training import tuning

MEANING = """\
Test accuracy in %: last epoch, mean +- standard deviation over seeds, beside the published number (best-on-test, single
run). In brackets best-on-test: the best of the last stage's evaluations (every `eval.every_epochs`), which goes on from
the last epoch of the stage before."""
DIFFERENCES = """\
Differences are paired by seed (rows of one network and seed start from the same parameters): points, 95 %
interval and two-sided p of Student's t, not corrected for the number of rows. Beside "all": Wilson's 95 % interval
of the mean accuracy, were the test images drawn anew; a difference inside it may be one of these images only.
Minutes are wall time, for seeds that trained side by side that of all of them."""

Measured = Mapping[tuple[str, str, int], Mapping]  # {(row, data set, ratio): what `runs.measure` returns}


def _values(found, name):
    return [seed[name] for seed in found["seeds"].values() if seed[name] is not None]


def _mean_std(values: Sequence[float], digits: int = 2) -> str:
    if not values:
        return "-"
    spread = f" +- {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _headline(found) -> str:
    best = _values(found, "best")
    return _mean_std(_values(found, "accuracy")) + (f" ({np.mean(best):.2f})" if best else "")


def _number(value):
    return "-" if value is None else f"{value:.2f}"


def _rows(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return [head, "|" + "---|" * len(lines[0]), *rest]


def markdown(table: Table, cells: Sequence[Cell], measured: Measured, header: Sequence[str]) -> str:
    """The whole report: headline beside published numbers, groups and calibration, differences to the reference row."""
    columns = list(dict.fromkeys((cell.dataset, cell.ratio) for cell in cells))
    labels = {cell.row.name: cell.row.label for cell in cells}
    by_place = {(cell.row.name, cell.dataset, cell.ratio): cell for cell in cells}
    lines = [f"# {title(table, cells)}", "", *header, ""]
    lines += [MEANING, ""]
    head = ["row"]
    for column in columns:
        head += [column_name(*column), "published"]
    body = []
    for name, label in labels.items():
        line = [label]
        for column in columns:
            found, cell = measured.get((name, *column)), by_place.get((name, *column))
            line += [_headline(found) if found else "not measured", _number(cell.published if cell else None)]
        body.append(line)
    lines += _rows([head, *body])
    for column in columns:
        if not any(place[1:] == column for place in measured):
            continue
        lines += ["", f"## {column_name(*column)}", ""]
        lines += _rows(_details(table, column, labels, measured))
    notes = dict.fromkeys(f"{cell.row.label}: {note}." for cell in cells if (note := tuning.warning(cell.config)))
    starts = sorted({cell.config[stage].init_from for cell in cells for stage in cell.config.stages} - {""})
    starts = [f"What starts from {start} differs between seeds in what follows only." for start in starts]
    lines += ["", DIFFERENCES, *notes, *starts]
    return "\n".join(lines) + "\n"


def _details(table, column, labels, measured):
    head = ["row", "all", "over test images", "many", "medium", "few", "NLL", "ECE"]
    head += [f"all, minus {labels.get(table.reference, '-')}", "few, minus the same", "minutes a seed"]
    reference = measured.get((table.reference, *column))
    lines = [head]
    for name, label in labels.items():
        if not (found := measured.get((name, *column))):
            continue
        line = [label, _mean_std(_values(found, "accuracy")), _over_images(found)]
        line += [_mean_std(_values(found, key)) for key in ("many", "medium", "few")]
        line += [_mean_std(_values(found, "nll"), 3), _mean_std([100 * e for e in _values(found, "ece")])]
        for key in ("accuracy", "few"):
            line.append("-" if name == table.reference or not reference else _difference(found, reference, key))
        lines.append([*line, f"{np.mean(_values(found, 'seconds')) / 60:.1f}"])
    return lines


def _over_images(found) -> str:
    low, high = significance.wilson(np.mean(_values(found, "accuracy")), _values(found, "test_images")[0])
    return f"[{low:.2f}, {high:.2f}]"


def _by_seed(found, key):
    return {seed: values[key] for seed, values in found["seeds"].items() if values[key] is not None}


def _difference(found, reference, key) -> str:
    pairs = significance.all_pairs({"a": _by_seed(found, key), "b": _by_seed(reference, key)})
    if ("a", "b") not in pairs:
        return "-"
    d = pairs["a", "b"]
    if d.p is None:  # of one seed, or without a spread
        several = len(_by_seed(found, key).keys() & _by_seed(reference, key).keys())
        return f"{d.mean:+.2f}" + (f" (in each of {several} seeds)" if several > 1 else "")
    p = "p < 0.001" if d.p < 0.001 else f"p = {d.p:.3f}"  # 0.000 would claim the impossible
    return f"{d.mean:+.2f} [{d.low:+.2f}, {d.high:+.2f}] {p}"


def values_csv(cells: Sequence[Cell], measured: Measured) -> str:
    """One line a cell and seed; ``epochs`` are of the stages that ran: a short run cannot pass for a full one."""
    names = ("best", "test_images", "seconds")
    places = ("row", "label", "dataset", "ratio", "published", "folder", "epochs", "seed")
    lines = [(*places, *COLUMNS, "best_on_test", *names[1:])]
    for cell in cells:
        found = measured.get((cell.row.name, cell.dataset, cell.ratio), {"seeds": {}})
        for seed, values in found["seeds"].items():
            row = (cell.row.name, cell.row.label, cell.dataset, cell.ratio, cell.published, found["folder"])
            epochs = "+".join(str(cell.config[stage].epochs) for stage in config_lib.stages_to_run(cell.config))
            lines.append((*row, epochs, seed, *(values[name] for name in (*COLUMNS, *names))))
    return _csv(lines)


def differences_csv(cells: Sequence[Cell], measured: Measured) -> str:
    """One line for every two rows of a column: the difference in accuracy with its interval and p."""
    lines = [("dataset", "ratio", "row", "minus", "points", "low_95", "high_95", "p")]
    for column in dict.fromkeys((cell.dataset, cell.ratio) for cell in cells):
        rows = {name: _by_seed(found, "accuracy") for (name, *place), found in measured.items() if (*place,) == column}
        for (a, b), d in significance.all_pairs(rows).items():
            lines.append((*column, a, b, d.mean, d.low, d.high, d.p))
    return _csv(lines)


def _csv(lines) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
