"""The files beside the code are current: requirements, citation, changelog, pre-commit, spelling."""

import importlib.util
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from conftest import ROOT

import gcl_jax

PYPROJECT = (ROOT / "pyproject.toml").read_text()
DEV = tomllib.loads(PYPROJECT)["project"]["optional-dependencies"]["dev"]


def test_requirements_are_those_of_pyproject():
    spec = importlib.util.spec_from_file_location("requirements", ROOT / "tools/requirements.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "requirements.txt").read_text()
    assert text == module.requirements(PYPROJECT), "make requirements"
    project = tomllib.loads(PYPROJECT)["project"]
    asked = {*project["dependencies"], *project["optional-dependencies"]["tf"]}
    assert {line for line in text.splitlines() if not line.startswith("#")} == asked


def test_citation_is_the_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == gcl_jax.__version__
    paper = citation["preferred-citation"]
    readme = (ROOT / "README.md").read_text()
    assert paper["title"] in readme
    authors = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert " and ".join(authors) in readme
    assert f"{{{paper['year']}}}" in readme


def test_changelog_is_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert gcl_jax.__version__ in text
    assert re.search(r"^## \[Unreleased\]$", text, re.MULTILINE)


def test_pre_commit_runs_the_tools_of_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    asked = {package for hook in hooks for package in hook["additional_dependencies"]}
    assert asked <= set(DEV), asked - set(DEV)
    assert {hook["entry"].split()[0] for hook in hooks} == {"ruff", "codespell", "shellcheck"}


@pytest.mark.parametrize(("text", "status"), [("the color of an optimizer\n", 0), ("the c\x6flour\n", 65)])
def test_codespell_wants_american_spelling(tmp_path, text, status):
    (tmp_path / "page.md").write_text(text)
    command = [sys.executable, "-m", "codespell_lib", "--toml", ROOT / "pyproject.toml", "page.md"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == status
