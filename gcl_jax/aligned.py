"""Numbers and columns for people: a table on a terminal whose cells never touch, however long a number is."""

from collections.abc import Sequence

PLAIN = 1e6  # from here on a number is written with an exponent


def number(value: float | None, digits: int = 2) -> str:
    """``value`` with so many digits after the point, "-" for None; as 1.67e+17 where it is too large to be read.

    >>> number(12.345), number(None), number(-1.5, 1), number(16671018435931051.0, 3), number(float("inf"))
    ('12.35', '-', '-1.5', '1.667e+16', 'inf')
    """
    if value is None:
        return "-"
    return f"{value:.{digits}{'f' if abs(value) < PLAIN or value != value else 'e'}}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of ``rows``, the first being the heads: two spaces or more between columns, names left, numbers right.

    >>> table([["stage", "NLL"], ["classifier", "0.526"]])
    ['stage         NLL', '-----------------', 'classifier  0.526']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
