"""Files that are whole or not there: written beside their place and renamed into it."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from gcl_jax.errors import writing


@contextlib.contextmanager
def replacing(path: Path | epath.Path) -> Iterator[Path | epath.Path]:
    """A temporary path beside ``path`` to write to, which takes its place at the end.

    Whatever goes wrong, ``path`` stays as it is and nothing is left beside it; an OSError becomes a UserError that says
    so. A reader sees the old file or the new one. What is no regular file, such as /dev/stdout, is written itself.

    >>> import tempfile; file = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(file) as new:
    ...     _ = new.write_text("whole")
    >>> file.read_text()
    'whole'
    """
    with writing(path):
        if "://" not in str(path):
            path = type(path)(os.path.realpath(path))  # a link stays one
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if path.exists() and not path.is_file():
                yield path
                return
        temporary = path.parent / f".{path.name[:60]}.tmp"  # names have an end, at 255 bytes
        try:
            yield temporary
            if path.exists() and "://" not in str(path):
                shutil.copymode(path, temporary)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                if temporary.is_file():  # a folder in its place is not ours
                    temporary.unlink()
            raise
