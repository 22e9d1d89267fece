"""What the folder of a table holds of its rows: what is measured, what is damaged, and what does not compare."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gcl_jax.errors import UserError
from gcl_jax.table import plan, runs


@dataclasses.dataclass(frozen=True)
class ExistingResults:
    """What a folder holds of a table: ``measured`` and ``damaged`` {(row, data set, ratio): numbers, or why}.

    ``mixed`` {(data set, ratio): why} are columns whose rows do not compare, which are left out of ``measured``.
    """

    measured: dict
    damaged: dict
    mixed: dict


def find_existing(cells: Sequence[plan.Cell], chosen: Sequence[plan.Cell], root: Path) -> ExistingResults:
    """The results of ``cells`` in the folder ``root``.

    Rows of one column were trained on the same images, or make none: a path says where data lie, not what they are. Nor
    do rows whose start holds other weights now compare with those that are trained from it today (of a row that was not
    ``chosen`` that matters only once it is in the table), or rows that took the same part of two such starts.
    """
    measured, damaged = {}, {}
    mixed: dict[tuple, str] = {}
    first: dict[tuple, tuple] = {}
    begun: dict[tuple, tuple] = {}
    places = {cell.place for cell in chosen}
    for cell in cells:
        column = (cell.dataset, cell.ratio)
        folder = root / plan.column_name(*column)
        try:
            result = runs.load_results(cell, root)
            replaced = runs.replaced_start(cell, root) if result or cell.place in places else ""
        except UserError as error:
            damaged[cell.place] = str(error)
            continue
        if replaced:
            mixed.setdefault(column, f"{folder}: {replaced}")
        if not result:
            continue
        measured[cell.place] = result
        other, data = first.setdefault(column, (cell.row.name, result["data"]))
        if len(data) > 1 or result["data"] != data:
            mixed[column] = (
                f"{folder}: {cell.row.name} ({result['folder']}) was trained on other "
                f"images than {other}: the data have changed in between. Nothing is lost, but they make no table: use "
                "another --workdir, or remove the folders of before"
            )
        if replaced:
            continue
        for start, digest in result["started_from"].items():  # of a start that is gone, too
            other, held = begun.setdefault((column, start), (cell.row.name, digest))
            if held != digest:
                mixed[column] = (
                    f"{folder}: {cell.row.name} ({result['folder']}) and {other} started from "
                    f"different weights, which were at {start[0]} one after the other. Nothing is lost, but they make "
                    "no table: use another --workdir, or remove the folders of one of them"
                )
    return ExistingResults(
        {place: result for place, result in measured.items() if place[1:] not in mixed}, damaged, mixed
    )
