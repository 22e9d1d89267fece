"""Recognizing tables of columns (.csv, .tsv), by their first lines, where a list of images is expected."""

import csv
import re
from collections.abc import Sequence

from gcl_jax.errors import UserError

# Names of images in lists, whether gcl_jax can decode them or not.
IMAGE = re.compile(r"\.(jpe?g|png|bmp|gif|webp|tiff?|heic|avif|jp2|ppm)$", re.IGNORECASE)
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}


def refuse(lines: Sequence[str], name: str) -> None:
    """Raise UserError, which names the columns, where ``lines``, the first ones of a list, are those of a table.

    Lines ``relative/path label`` are no table, whatever characters the path has.

    >>> refuse(["a, b/1.jpg 0"], "train.txt")
    >>> refuse(["path,label", "a/1.jpg,0"], "train.csv")
    Traceback (most recent call last):
    gcl_jax.errors.UserError: train.csv is a table of 2 columns with commas between them (path, label), and a list has
    lines `relative/path label`: write its column of paths and the one of labels that you mean, numbered 0..C-1, into
    such a list, for example: awk -F',' 'NR>1 {print $1, $2}' train.csv > list.txt
    """
    lines = [line.strip(" \r\n") for line in lines if line.strip()]
    body = lines[1:] or lines  # the first may be a header
    if not body or all(map(_is_entry, body)):
        return
    quoted = any('"' in line for line in lines)
    for separator in SEPARATORS:
        spaces = separator == " "
        rows = [line.split() for line in lines] if spaces else _cells(lines, separator)
        column = _path_column(rows[-len(body) :], images_only=spaces)
        if column is not None and len({*map(len, rows)}) == 1 and len(rows[0]) > 1 + spaces:
            raise UserError(_message(rows, column, name, separator, quoted))


def _cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    try:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        return [[cell.strip() for cell in row] for row in rows]
    except csv.Error:  # a cell of more than 128 KiB
        return [[]]


def _is_entry(line: str) -> bool:
    """Whether ``line`` looks like `relative/path label`."""
    path, *label = line.rsplit(maxsplit=1)
    if not label or IMAGE.search(path):
        return bool(label) and "\t" not in path
    return not re.search(r"[ ,;|\t]", path) and label[0].isdecimal()


def _path_column(rows: Sequence[Sequence[str]], *, images_only: bool = False) -> int | None:
    """The index of the column of images, or 0 where each row ends in a number; None for other or single columns."""
    width = min(map(len, rows))
    if width < 2:
        return None
    images = [j for j in range(width) if all(IMAGE.search(row[j]) for row in rows)]
    numbered = all(_is_number(row[-1]) for row in rows)
    return images[0] if images else 0 if numbered and not images_only else None


def _message(rows: Sequence[Sequence[str]], column: int, name: str, separator: str, quoted: bool) -> str:
    header = len(rows) > 1 and not IMAGE.search(rows[0][column]) and not _is_number(rows[0][-1])
    columns = ", ".join(cell[:40] or "''" for cell in rows[0])
    message = (
        f"{name} is a table of {len(rows[0])} columns with {SEPARATORS[separator]} between them "
        f"({'' if header else 'such as '}{columns}), and a list has lines `relative/path label`: write its column "
        "of paths and the one of labels that you mean, numbered 0..C-1, into such a list"
    )
    others = (*range(column + 1, len(rows[0])), *range(column))
    labels = [j for j in others if all(_is_number(row[j]) for row in rows[header:])]
    if not labels or quoted:  # which awk cannot take apart
        return message
    field = {" ": "", "|": " -F'[|]'", "\t": r" -F'\t'"}.get(separator, f" -F'{separator}'")
    program = f"{'NR>1 ' if header else ''}{{print ${column + 1}, ${labels[0] + 1}}}"
    return f"{message}, for example: awk{field} '{program}' {name} > list.txt"


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch("[0-9]+", cell))
