"""How Sphinx makes pages of README, docs/, and what they link to: ``make docs``."""

project = "gcl_jax"
author = "the gcl_jax authors"
extensions = ["myst_parser"]
root_doc = "docs/index"
# The source is the repository's folder, so that links read on disk and in the pages alike.
include_patterns = ["README.md", "docs/*.md", "launch/README.md", "results/**.md"]
myst_heading_anchors = 3  # of headings, as GitHub makes them
