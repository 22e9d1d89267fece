"""What the type checker of `make lint` cannot be told to look for."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
FILES = sorted({file for one in CHECKED for file in (ROOT.glob(one) if "*" in one else (ROOT / one).rglob("*.py"))})
IGNORE = re.compile(r"# type: ignore\[[a-z-]+\]  # \w+")


def _public(body):
    """Functions and methods that others call, not what is nested in them; ``__init__`` and such are methods' too."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            if not node.name.startswith("_"):
                yield from _public(node.body)
        elif isinstance(node, ast.FunctionDef) and not re.match(r"_[^_]", node.name):
            yield node


def _flaws(text):
    for function in _public(ast.parse(text).body):
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        named = [one for one in named if one is not None and one.arg not in ("self", "cls")]
        hints = [one.annotation for one in named] + [function.returns] * (function.name != "__init__")
        if None in hints:
            yield f"{function.name} is not annotated"
        if any(isinstance(part, ast.Name) and part.id == "Any" for hint in hints if hint for part in ast.walk(hint)):
            yield f"{function.name} says Any"


@pytest.mark.parametrize(
    ("text", "flaws"),
    [
        ("def f(a: int, *, b: str = '') -> None: ...", []),
        ("def f(a, b: int) -> None: ...", ["f is not annotated"]),
        ("class C:\n    def f(self, a: dict[str, Any]) -> None: ...", ["f says Any"]),
        ("class _C:\n    def f(self): ...\ndef _f(): ...", []),
    ],
)
def test_finds_signatures_without_types(text, flaws):
    assert list(_flaws(text)) == flaws


def test_public_signatures_have_types():
    assert len(FILES) > 100
    assert not {str(file): found for file in FILES if (found := list(_flaws(file.read_text())))}


def test_every_ignore_has_code_and_reason():
    lines = [(file, line) for file in FILES for line in file.read_text().splitlines() if "type: ignore" in line]
    assert lines
    assert not [found for found in lines if not IGNORE.search(found[1])]
    assert not [file for file in FILES if re.search(r"^# mypy:", file.read_text(), re.MULTILINE)]
