"""What a report is asked for, and the contract of a report."""

import dataclasses
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Request:
    """Runs as (label, folder), whose ``stage`` is meant ("" = the report's own choice), and where files go.

    ``out`` is a folder that is there; ``images`` is the most test images that a picture shows.
    """

    runs: tuple[tuple[str, str], ...]
    out: Path
    stage: str = ""
    images: int = 2000


# Writes its files into ``out`` and prints numbers and what it wrote; the first line of its docstring says what it is.
Report = Callable[[Request], None]
