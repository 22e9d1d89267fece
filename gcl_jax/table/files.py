"""The files of a table in its folder: NAME.md, NAME.csv and NAME_differences.csv."""

import contextlib
import itertools
from collections.abc import Mapping
from pathlib import Path

from gcl_jax.errors import writing
from gcl_jax.replacing import replacing


def write(root: Path, name: str, command: str, files: Mapping[str, str]) -> None:
    """Write ``files`` {ending: text} as NAME + ending, where those of another command move to NAME_1, NAME_2, ...

    ``command`` is the line of the ".md" by which two tables are known to be one: other columns, seeds or overrides
    are another table, and nobody's numbers are lost to it. Raises UserError where the folder cannot be written.

    >>> import tempfile; folder = Path(tempfile.mkdtemp())
    >>> for command in ("a", "a", "b"): write(folder, "table1", command, {".md": f"{command}\\n"})
    >>> sorted(file.name for file in folder.iterdir())
    ['table1.md', 'table1_1.md']
    """
    report = root / f"{name}.md"
    with writing(report), contextlib.ExitStack() as stack:
        for ending, text in files.items():
            new = stack.enter_context(replacing(root / f"{name}{ending}"))
            new.write_bytes(text.encode(errors="backslashreplace"))
        if report.exists() and command not in report.read_bytes().decode(errors="replace").splitlines():
            free = next(n for n in itertools.count(1) if not (root / f"{name}_{n}.md").exists())
            for ending in files:
                if (root / f"{name}{ending}").exists():
                    (root / f"{name}{ending}").replace(root / f"{name}_{free}{ending}")
