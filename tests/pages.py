"""README and the pages of docs/: their text and their blocks of code and commands."""

import re
import shlex

from conftest import ROOT

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS]
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, block) of every fenced block of ``language``, in order."""
    fenced = re.compile(rf"```{language}\n(.*?)```", re.DOTALL)
    return [(page, block) for page, text in TEXT.items() for block in fenced.findall(text)]


def commands(block: str) -> list[list[str]]:
    """The words of each command in a block of shell, without comments."""
    return [words for line in block.splitlines() if (words := shlex.split(line, comments=True))]


def needs(block: str) -> str:
    """What a block of shell says that it needs in its first line, ``# needs DATA``; "" if nothing."""
    return found.group(1) if (found := re.match(r"# needs (.+)\n", block)) else ""
