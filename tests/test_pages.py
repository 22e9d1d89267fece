"""README is short, links lead somewhere, and the commands of README and docs/ are good ones, or run."""

import importlib
import os
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT
from pages import DOCS, PAGES, README, TEXT, blocks, commands, needs
from test_command_line import parse
from tiny import load_config

from gcl_jax.config import unknown_key
from gcl_jax.table.specs import TABLES

COMMANDS = [(page, words) for page, block in blocks("bash") for words in commands(block)]
OURS = [(page, words) for page, words in COMMANDS if words[:2] == ["python", "-m"]]
RUN = {page: [words for p, b in blocks("bash") if p == page and not needs(b) for words in commands(b)] for page in TEXT}


def prose(text):
    """``text`` without its fenced blocks."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(text):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_a_front_door():
    lines = README.read_text().splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 120
    first = "\n".join(lines[:36])  # a screen
    assert "make demo" in first
    assert "make test" in first
    assert "embedding.png" in first
    assert "CIFAR-10-LT" in first
    assert "digits, ten seeds" not in first


def test_readme_and_index_name_every_page():
    for page in DOCS:
        if page.name != "index.md":  # of `make docs`
            assert f"(docs/{page.name})" in README.read_text()
            assert f"\n{page.stem}\n" in TEXT["docs/index.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_in_the_text_are_there(page):
    for path in re.findall(r"`((?:gcl_jax|configs|results|tests|docs|launch)/[\w./*]+)`", page.read_text()):
        assert list(ROOT.glob(path)), path


@pytest.mark.parametrize("page", TEXT)
def test_keys_in_the_text_exist(page):
    config = load_config("folder:gcl", "photos")
    for key in re.findall(r"--config\.([\w.]+)=", TEXT[page]):
        assert key == "KEY" or unknown_key(config, key.replace("STAGE", "classifier")) is None, key


def test_every_command_is_of_a_known_kind():
    """`make` of a target, `pip install` of this project's extras, or a command of the package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for page, words in COMMANDS:
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (page, words)
        elif words[:3] == ["pip", "install", "-e"]:
            assert set(re.findall(r"\w+", words[3])) <= extras.keys(), (page, words)
        else:
            assert words[:2] == ["python", "-m"], (page, words)
            assert words[2].startswith("gcl_jax."), (page, words)


@pytest.mark.parametrize(("page", "words"), OURS, ids=[f"{page}-{i}" for i, (page, _) in enumerate(OURS)])
def test_commands_are_understood(page, words, monkeypatch, tmp_path):
    command, arguments = words[2], words[3:]
    arguments = [word.replace("--config=configs/", f"--config={ROOT}/configs/") for word in arguments]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    if command == "gcl_jax.main":
        of_config = [word for word in arguments if word.startswith("--config")]
        parse(monkeypatch, *of_config)
        for flag in {word.partition("=")[0].removeprefix("--") for word in arguments if word not in of_config}:
            assert re.search(rf'DEFINE_\w+\(\s*"{flag}"', (ROOT / "gcl_jax/main.py").read_text()), flag
    elif command == "gcl_jax.benchmark":
        assert arguments[0] in importlib.import_module("gcl_jax.benchmark.__main__").NAMES
    elif command == "gcl_jax.table":
        given, _ = importlib.import_module("gcl_jax.table.__main__").parse(arguments)
        assert set(given.only) <= {row.name for row in TABLES[given.table].rows}
    else:
        module = command if command in ("gcl_jax.predict", "gcl_jax.export") else f"{command}.__main__"
        importlib.import_module(module).parse(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in RUN if any(words[0] == "python" for words in RUN[page])])
def test_commands_that_need_nothing_run(page, tmp_path):
    """In order, in one folder; what needs data, hardware or time says so in its block's first line."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in RUN[page]:
        if words[0] == "python":
            done = subprocess.run(
                [sys.executable, *words[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
            )
            assert done.returncode == 0, (words, done.stderr)
