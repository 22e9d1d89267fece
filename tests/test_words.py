"""The names of the package are the field's words, its modules import without a cycle, its files are small."""

import ast
import re

import pytest
from conftest import ROOT

PACKAGE = ROOT / "gcl_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
# What things were called before; each has a word of the field now. Left off are those of that list that are plain words
# in their plain meaning: `first`, `groups` (of a convolution), `check`, `measure`, `make`, `same`, `due`, `say`,
# `time`.
OLD_NAMES = frozenset({
    "told", "trouble", "tally", "moving", "moved", "Constants", "ClassStats", "Time", "penalty", "trains",
    "inherits", "lr_factor", "needs_training", "Parts", "SeedRun", "GoBack", "Feed", "Columns", "draws", "uniforms",
    "owed", "everywhere", "none_left_waiting", "answered", "handover", "damage", "set_aside", "AS_THEY_ARE",
    "declared", "own_network", "Photographs", "undecodable", "in_one_line", "cure", "found", "own", "asked",
    "two_branches", "fresh_head",
})  # fmt: skip


def bindings(tree):
    """Every name that a module binds: variables, arguments, functions, classes, attributes, keywords, imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr.lstrip("_"), node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs) and node.name:
            yield node.name, getattr(node, "lineno", 0)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_name_is_a_private_word(file):
    assert file.stem not in OLD_NAMES
    wrong = [
        f"line {line}: {name}"
        for name, line in bindings(ast.parse(file.read_text()))
        if name in OLD_NAMES or name.startswith("most_")
    ]
    assert not wrong, f"{file.relative_to(ROOT)} has {', '.join(wrong)}"


def test_the_list_would_find_them():
    code = "import a as told\ndef f(found, *, own): self.asked = 1\nclass Parts: tally: int = 0\ng(owed=1)\nmost_x = 2"
    names = {name for name, _ in bindings(ast.parse(code))}
    assert {"told", "found", "own", "asked", "Parts", "tally", "owed", "most_x"} <= names


def module_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file, modules):
    """The modules of the package that ``file`` imports, when it is itself imported or later; types alone excepted."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gcl_jax"):
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in modules else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in modules)


def test_no_module_imports_itself_round_a_corner():
    """Not even inside a function; a package's __init__ stands for the files that it is made of."""
    modules = {module_of(file): file for file in FILES}
    graph = {}
    for name, file in modules.items():
        room = name if file.name == "__init__.py" else name.rpartition(".")[0]
        # What a package's __init__ takes from its own files, and they from it by `from gcl_jax.room import`, is one
        # room.
        graph[name] = {
            other for other in imports(file, modules) if other in modules and other not in (name, room, "gcl_jax")
        }
    done, path = set(), []

    def visit(name):
        if name in done:
            return
        assert name not in path, f"a cycle: {' -> '.join([*path[path.index(name) :], name])}"
        path.append(name)
        for other in sorted(graph[name]):
            visit(other)
        done.add(path.pop())

    for name in sorted(graph):
        visit(name)


def test_files_are_small_and_say_what_they_hold():
    tests = sorted((ROOT / "tests").rglob("*.py"))
    long = [str(file.relative_to(ROOT)) for file in [*FILES, *tests] if len(file.read_text().splitlines()) > 400]
    assert not long
    assert not [file for file in FILES if re.fullmatch(r"(utils?|helpers?|misc|common)\.py", file.name)]
    assert not [
        str(file) for file in FILES if file.read_text().strip() and not ast.get_docstring(ast.parse(file.read_text()))
    ]
