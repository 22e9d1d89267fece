"""What the folder of a table holds of its rows: what is measured, what is damaged, and what does not compare."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from gcl_jax.errors import UserError
from gcl_jax.table import plan, runs


@dataclasses.dataclass(frozen=True)
class There:
    """What a folder holds of a table: ``measured`` and ``damaged`` {(row, data set, ratio): numbers, or why}.

    ``mixed`` {(data set, ratio): why} are columns whose rows do not compare, which are left out of ``measured``.
    """

    measured: dict
    damaged: dict
    mixed: dict


def look(cells: Sequence[plan.Cell], chosen: Sequence[plan.Cell], root: Path) -> There:
    """What is there of ``cells``.

    Rows of one column were trained on the same images, or make none: a path says where data lie, not what they are. Nor
    do rows whose start holds other weights now compare with those that are trained from it today (of a row that was not
    ``chosen`` that matters only once it is in the table), or rows that took the same part of two such starts.
    """
    measured, damaged = {}, {}
    mixed: dict[tuple, str] = {}
    first: dict[tuple, tuple] = {}
    begun: dict[tuple, tuple] = {}
    asked = {cell.place for cell in chosen}
    for cell in cells:
        column = (cell.dataset, cell.ratio)
        try:
            found = runs.load_results(cell, root)
            replaced = runs.replaced_start(cell, root) if found or cell.place in asked else ""
        except UserError as error:
            damaged[cell.place] = str(error)
            continue
        if replaced:
            mixed.setdefault(column, f"{root / plan.column_name(*column)}: {replaced}")
        if not found:
            continue
        measured[cell.place] = found
        other, data = first.setdefault(column, (cell.row.name, found["data"]))
        if len(data) > 1 or found["data"] != data:
            mixed[column] = (
                f"{root / plan.column_name(*column)}: {cell.row.name} ({found['folder']}) was trained on other images "
                f"than {other}: the data have changed in between. Nothing is lost, but they make no table: use another "
                "--workdir, or remove the folders of before"
            )
        if replaced:
            continue
        for start, digest in found["started_from"].items():  # of a start that is gone, too
            other, held = begun.setdefault((column, start), (cell.row.name, digest))
            if held != digest:
                mixed[column] = (
                    f"{root / plan.column_name(*column)}: {cell.row.name} ({found['folder']}) and {other} started from "
                    f"different weights, which were at {start[0]} one after the other. Nothing is lost, but they make "
                    "no table: use another --workdir, or remove the folders of one of them"
                )
    return There({place: found for place, found in measured.items() if place[1:] not in mixed}, damaged, mixed)
