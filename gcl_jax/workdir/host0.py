"""Files that process 0 alone looks at and writes: every process calls these, and gets what it found."""

from collections.abc import Callable, Mapping

from etils import epath

from gcl_jax import json_files
from gcl_jax.errors import writing
from gcl_jax.runtime import distributed


def exists(path: epath.Path) -> bool:
    """Whether there is something at ``path``."""
    return distributed.run_on_host0(path.exists)


def read_json(path: epath.Path, shape: Mapping) -> dict:
    """The JSON object in ``path``, of ``shape`` (see `json_files.read`)."""
    return distributed.run_on_host0(lambda: json_files.read(path, shape=shape))


def write_json(path: epath.Path, content: Mapping, before: Callable[[], object] = lambda: None) -> None:
    """Write ``content`` to ``path``, whose folder is made if it is not there; ``before`` writes what has to come first.

    Of several processes it is process 0's ``content``.
    """

    def write():
        make_folder(path.parent)
        before()
        json_files.write(path, content)

    distributed.run_on_host0(write)


def make_folder(path: epath.Path) -> None:
    """Make a folder, in this process; UserError where that fails."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
