"""Write requirements.txt from pyproject.toml: python tools/requirements.py (`make requirements`)."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# Written by `make requirements` from pyproject.toml: the core and the extra [tf], which tf.data and TFDS need.
# `pip install -e .` alone installs the core, which runs without TensorFlow.
"""


def requirements(pyproject: str) -> str:
    """The text of requirements.txt for that of a pyproject.toml."""
    project = tomllib.loads(pyproject)["project"]
    return HEAD + "".join(f"{line}\n" for line in project["dependencies"] + project["optional-dependencies"]["tf"])


if __name__ == "__main__":
    (ROOT / "requirements.txt").write_text(requirements((ROOT / "pyproject.toml").read_text()))
