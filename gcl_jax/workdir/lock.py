"""One run a folder: a lock that the operating system lets go of when the process ends, however it ends."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator

from etils import epath

from gcl_jax import logs
from gcl_jax.errors import UserError, require_utf8

NAME = ".lock"


@contextlib.contextmanager
def held(root: epath.Path) -> Iterator[None]:
    """Keep every other process out of the folder ``root``, which is made if it is not there; removed if left empty.

    Raises UserError that tells who holds it, or that the folder cannot be written. Object stores (gs://) and file
    systems that know no locks are not locked: a line says so.
    """
    require_utf8(root)  # TensorStore's paths are
    if "://" in str(root):
        logs.log_info(f"note: {root} cannot be locked; see to it that no second run writes there")
        yield
        return
    made = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = _locked(os.fspath(root / NAME))
        _sign(file)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise UserError(
                f"--workdir={root} cannot be written ({error.strerror or error}): name another folder"
            ) from error
        logs.log_info(f"note: the file system of {root} has no locks; see to it that no second run writes there")
        yield
        return
    try:
        yield
    finally:
        if made and os.listdir(root) == [NAME]:
            os.unlink(root / NAME)
            os.rmdir(root)
        os.close(file)


def _locked(path: str) -> int:
    """The locked file's descriptor; UserError with what its holder wrote into it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(file)):
                return file
            os.close(file)  # its holder removed it in the meantime
        except BlockingIOError:
            holder = os.read(file, 1000)
            os.close(file)
            raise UserError(
                f"{os.path.dirname(path)} is in use by {_who(holder)}: wait for it or stop it, or name another "
                "--workdir"
            ) from None
        except BaseException:
            os.close(file)
            raise


def _sign(file: int) -> None:
    since = datetime.datetime.now().isoformat(" ", "seconds")
    try:
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode())
    except OSError:
        os.close(file)
        raise


def _who(holder: bytes) -> str:
    try:
        record = json.loads(holder)
        return f"process {record['pid']} on {record['host']} since {record['since']}"
    except (ValueError, TypeError, KeyError):  # it has the lock and has not written yet
        return "another process"
