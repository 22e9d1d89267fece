"""A measured table as Markdown and CSV."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence

import numpy as np

from gcl_jax import aligned
from gcl_jax import config as config_lib
from gcl_jax.table import significance
from gcl_jax.table.plan import Cell, column_name, title
from gcl_jax.table.specs import Table
from gcl_jax.training import tuning
from gcl_jax.workdir.results import COLUMNS, GROUPS

MEANING = """\
On the test set, last epoch, mean +- standard deviation over seeds. **Accuracy is over images** (% of the test images
that are right); **balanced accuracy (macro recall), many, medium and few are over classes**: each class of the group
counts once, with the % of its images. NLL in nats, ECE in %. In brackets best-on-test: the best accuracy of the last
stage's evaluations (every `eval.every_epochs`), which goes on from the last epoch of the stage before."""
PUBLISHED = "The published number is an accuracy over images, best-on-test, of a single run."
DIFFERENCES = """\
Differences are paired by seed (rows of one network and seed start from the same parameters): points, 95 %
interval and two-sided p of Student's t, not corrected for the number of rows. Beside accuracy: Wilson's 95 % interval
of its mean, were the test images drawn anew; a difference inside it may be one of these images only.
Minutes are wall time, for seeds that trained side by side that of all of them."""
UNITS = (
    "accuracy, best_on_test, published: % of test images; balanced_accuracy = macro_recall, many, medium, few: "
    "mean over classes of the % of each; nll: nats; ece: fraction of 1; seconds: wall time"
)

Measured = Mapping[tuple[str, str, int], Mapping]  # {(row, data set, ratio): what `runs.measure` returns}


def _values(result, name):
    return [seed[name] for seed in result["seeds"].values() if seed[name] is not None]


def _mean_std(values: Sequence[float], digits: int = 2) -> str:
    if not values:
        return "-"
    with np.errstate(over="ignore", invalid="ignore"):  # of an NLL that is beyond all bounds
        spread = f" +- {aligned.number(float(np.std(values, ddof=1)), digits)}" if len(values) > 1 else ""
        return aligned.number(float(np.mean(values)), digits) + spread


def _headline(result: Mapping) -> str:
    best = _values(result, "best")
    return _mean_std(_values(result, "accuracy")) + (f" ({aligned.number(float(np.mean(best)))})" if best else "")


def _rows(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return [head, "|" + "---|" * len(lines[0]), *rest]


def markdown(
    table: Table,
    cells: Sequence[Cell],
    measured: Measured,
    header: Sequence[str],
    damaged: Mapping[tuple[str, str, int], str] | None = None,
) -> str:
    """The whole report: headline beside published numbers, groups and calibration, differences to the reference row.

    ``damaged`` {(row, data set, ratio): why} are rows that are there and cannot be read.
    """
    damaged = damaged or {}
    columns = list(dict.fromkeys((cell.dataset, cell.ratio) for cell in cells))
    labels = {cell.row.name: cell.row.label for cell in cells}
    by_place = {(cell.row.name, cell.dataset, cell.ratio): cell for cell in cells}
    compared = {column for column in columns if any(c.published for p, c in by_place.items() if p[1:] == column)}
    lines = [f"# {title(table, cells)}", "", *header, ""]
    lines += [MEANING, *([PUBLISHED] if compared else []), ""]
    head = ["row"]
    for column in columns:
        head += [
            f"{column_name(*column)}: accuracy",
            "balanced accuracy",
            *(["published"] if column in compared else []),
        ]
    body = []
    for name, label in labels.items():
        line = [label]
        for column in columns:
            place = (name, *column)
            result, cell = measured.get(place), by_place.get(place)
            line.append(_headline(result) if result else "damaged" if place in damaged else "not measured")
            line.append(_mean_std(_values(result, "balanced_accuracy")) if result else "-")
            line += [aligned.number(cell.published if cell else None)] if column in compared else []
        body.append(line)
    lines += _rows([head, *body])
    for column in columns:
        if not any(place[1:] == column for place in measured):
            continue
        lines += ["", f"## {column_name(*column)}", ""]
        lines += _rows(_details(table, column, labels, measured))
    return "\n".join([*lines, "", DIFFERENCES, *_notes(cells, measured, damaged)]) + "\n"


def _notes(cells: Sequence[Cell], measured: Measured, damaged: Mapping[tuple, str]) -> list[str]:
    there = [cell for cell in cells if cell.place in measured]
    notes = [f"{cell.row.label}: {note}." for cell in there if (note := tuning.warning(cell.config))]
    starts = sorted({cell.config[stage].init_from for cell in there for stage in cell.config.stages} - {""})
    notes += [f"What starts from {start} differs between seeds in what follows only." for start in starts]
    held_out = sorted({cell.config.data.validation_fraction for cell in cells} - {0.0})
    notes += [
        f"many, medium and few follow the training images that are left where config.data.validation_fraction={held:g} "
        "of each class is held out: a class can be in another group than it is with all of them."
        for held in held_out
    ]
    made_by: dict[str, list[str]] = {}
    for (name, dataset, ratio), result in measured.items():
        for machine in result.get("machines", ()):
            made_by.setdefault(machine, []).append(f"{name} on {column_name(dataset, ratio)}")
    if len(made_by) > 1:  # their numbers may differ by more than their methods
        notes += ["**Not all rows were computed by the same machine, versions and code:**"]
        notes += [f"* {machine}: {', '.join(rows)}." for machine, rows in sorted(made_by.items())]
    notes += [f"{name} on {column_name(*column)} is left out: {why}." for (name, *column), why in damaged.items()]
    return list(dict.fromkeys(notes))


def _details(table, column, labels, measured):
    head = ["row", "accuracy (over images)", "95 % over test images", "balanced accuracy (over classes)"]
    head += ["many", "medium", "few", "NLL", "ECE in %"]
    head += [f"accuracy, minus {labels.get(table.reference, '-')}", "few, minus the same", "minutes a seed"]
    reference = measured.get((table.reference, *column))
    lines = [head]
    for name, label in labels.items():
        if not (result := measured.get((name, *column))):
            continue
        line = [label, _mean_std(_values(result, "accuracy")), _over_images(result)]
        line += [_mean_std(_values(result, key)) for key in ("balanced_accuracy", *GROUPS)]
        line += [_mean_std(_values(result, "nll"), 3), _mean_std([100 * ece for ece in _values(result, "ece")])]
        for key in ("accuracy", "few"):
            line.append("-" if name == table.reference or not reference else _difference(result, reference, key))
        lines.append([*line, f"{np.mean(_values(result, 'seconds')) / 60:.1f}"])
    return lines


def _over_images(result: Mapping) -> str:
    low, high = significance.wilson(float(np.mean(_values(result, "accuracy"))), _values(result, "test_images")[0])
    return f"[{low:.2f}, {high:.2f}]"


def _by_seed(result, key):
    return {seed: values[key] for seed, values in result["seeds"].items() if values[key] is not None}


def _difference(result: Mapping, reference: Mapping, key: str) -> str:
    pairs = significance.all_pairs({"a": _by_seed(result, key), "b": _by_seed(reference, key)})
    if ("a", "b") not in pairs:
        return "-"
    d = pairs["a", "b"]
    if d.p is None:  # of one seed, or without a spread
        several = len(_by_seed(result, key).keys() & _by_seed(reference, key).keys())
        return f"{d.mean:+.2f}" + (f" (in each of {several} seeds)" if several > 1 else "")
    p = "p < 0.001" if d.p < 0.001 else f"p = {d.p:.3f}"  # 0.000 would claim the impossible
    return f"{d.mean:+.2f} [{d.low:+.2f}, {d.high:+.2f}] {p}"


def values_csv(cells: Sequence[Cell], measured: Measured) -> str:
    """One line a cell and seed; ``epochs`` are of the stages that ran: a short run cannot pass for a full one."""
    names = ("best", "test_images", "seconds")
    places = ("row", "label", "dataset", "ratio", "published", "folder", "epochs", "seed")
    lines = [(*places, *COLUMNS, "best_on_test", *names[1:], "units")]
    for cell in cells:
        result = measured.get((cell.row.name, cell.dataset, cell.ratio), {"seeds": {}})
        for seed, values in result["seeds"].items():
            row = (cell.row.name, cell.row.label, cell.dataset, cell.ratio or "", cell.published, result["folder"])
            epochs = "+".join(str(cell.config[stage].epochs) for stage in config_lib.stages_to_run(cell.config))
            lines.append((*row, epochs, seed, *(values[name] for name in (*COLUMNS, *names)), UNITS))
    return _csv(lines)


def differences_csv(cells: Sequence[Cell], measured: Measured) -> str:
    """One line for every two rows of a column: the differences in accuracy and balanced accuracy, interval and p."""
    ends = ("points", "low_95", "high_95", "p")
    lines: list[tuple] = [("dataset", "ratio", "row", "minus", *ends, *(f"balanced_{end}" for end in ends))]
    for column in dict.fromkeys((cell.dataset, cell.ratio) for cell in cells):
        there = {name: result for (name, *place), result in measured.items() if (*place,) == column}
        of = [
            significance.all_pairs({name: _by_seed(result, key) for name, result in there.items()})
            for key in ("accuracy", "balanced_accuracy")
        ]
        for pair in of[0]:
            both = (of[0][pair], of[1].get(pair))
            numbers = [v for d in both for v in (dataclasses.astuple(d) if d else [None] * 4)]
            lines.append((column[0], column[1] or "", *pair, *numbers))
    return _csv(lines)


def _csv(lines: Sequence[Sequence]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
