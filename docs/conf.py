"""How Sphinx makes pages of README, docs/, and what they link to: ``make docs``."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "gcl_jax"
author = "the gcl_jax authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
# The source is the repository's folder, so that links read on disk and in the pages alike.
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**.md", "launch/README.md", "results/**.md"]
myst_heading_anchors = 3  # of headings, as GitHub makes them

default_role = "code"  # `name` in a docstring
autodoc_default_options = {
    "members": True,
    "undoc-members": False,
    "member-order": "bysource",
    "show-inheritance": True,
}
autodoc_typehints = "signature"
autodoc_mock_imports = ["tensorflow", "tensorflow_datasets", "array_record", "torch", "PIL"]


def _escape(app, what, name, obj, options, lines):
    """Docstrings are plain text: | and * in their formulas are themselves. Doctests stay as they are."""
    doctest = False
    for i, line in enumerate(lines):
        doctest = line.lstrip().startswith(">>>") or (doctest and bool(line.strip()))
        if not doctest:
            lines[i] = re.sub(r"(``.+?``|`.+?`)|([|*])", lambda match: match[1] or f"\\{match[2]}", line)


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _escape)
