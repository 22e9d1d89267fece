"""Several processes as one run: how they find each other, agree on what to do, and fail together.

JAX's distributed runtime is the engine. Process 0 is the first: it alone looks into the workdir and writes there
(checkpoints are written by all, through Orbax), and tells the others what it reads there, so that no two of them can
act on different views of a file system. In a run of one process, every function here is the plain call.
"""

import contextlib
import json
import os
import re
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from gcl_jax.errors import UserError, require
from gcl_jax.runtime import preemption
from gcl_jax.typing import Json

Value = TypeVar("Value")


class AgreedError(UserError):
    """An error that every process raises at the same place: all of them end, and none waits for another."""


def start(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    autodetect: bool = False,
) -> None:
    """Join the processes of this run, before JAX computes anything; without arguments there is one, and no waiting.

    ``coordinator`` is HOST:PORT at which process 0 listens; with ``autodetect`` JAX finds all three values (Cloud TPU,
    SLURM, Open MPI, Kubernetes). Where not all processes come within 300 seconds, JAX aborts those that did. Raises
    UserError for flags that do not fit together, where JAX finds no cluster, and for a port that is not free.

    >>> start("localhost:1234", 2)
    Traceback (most recent call last):
    gcl_jax.errors.UserError: --coordinator, --num_processes and --process_id go together: --process_id is missing
    """
    flags = {"--coordinator": coordinator, "--num_processes": num_processes, "--process_id": process_id}
    missing = [flag for flag, value in flags.items() if value is None]
    if autodetect and len(missing) < len(flags):
        raise UserError("--distributed lets JAX find the processes: leave out --coordinator and what goes with it")
    if not autodetect:
        if len(missing) == len(flags):
            return
        if coordinator is None or num_processes is None or process_id is None:
            message = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            raise UserError(f"--coordinator, --num_processes and --process_id go together: {message}")
        port = int(coordinator.rpartition(":")[2]) if re.fullmatch(r".+:\d{1,5}", coordinator) else 0
        require(0 < port < 65536, "--coordinator", coordinator, "HOST:PORT of process 0, with a port of 1..65535")
        require(num_processes >= 1, "--num_processes", num_processes, "at least 1")
        require(0 <= process_id < num_processes, "--process_id", process_id, f"in 0..{num_processes - 1}")
        if process_id == 0:
            _require_free(port)
    try:
        with preemption.exit_on_signal():
            jax.distributed.initialize(coordinator, num_processes, process_id)
    except ValueError as error:
        raise UserError(
            f"--distributed: JAX finds no cluster here ({error}): give --coordinator=HOST:PORT, --num_processes and "
            "--process_id"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"JAX's runtime does not start ({str(error).splitlines()[0][:200]}): name the host of process 0 and a port "
            "that is free there with --coordinator=HOST:PORT"
        ) from error


def _require_free(port: int) -> None:
    """Raise UserError if something listens at ``port`` already, which JAX's own server would share with it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a run before may have left it a moment ago
        try:
            probe.bind(("", port))
        except OSError as error:
            raise UserError(
                f"--coordinator: port {port} of this host cannot be listened at ({error.strerror or error}); another "
                "run, or another process 0 of this one, may have it: name a port that is free"
            ) from error


def several() -> bool:
    """Whether the run has more than one process; starts no backend where it has not."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this is the process that prints and writes."""
    return not several() or jax.process_index() == 0


def run_on_host0(function: Callable[[], Value]) -> Value:
    """Call ``function()`` in process 0 alone; every process gets its result, the others as JSON gives it back.

    An error that it raises is raised in all of them. Every process has to call this, and `all_or_raise`, `gather` and
    `assert_equal`.

    >>> run_on_host0(lambda: 3)
    3
    """
    if not several():
        return function()
    value: Any = None
    error: Exception | None = None
    message = ""
    if is_first():
        try:
            value = function()
            message = json.dumps({"value": value})
        except Exception as raised:
            error, message = raised, json.dumps({"error": _text(raised)})
    reply = json.loads(_broadcast(message))
    if "error" in reply:
        raise _agreed(error, reply["error"])
    return value if is_first() else reply["value"]


def all_or_raise(function: Callable[[], Value]) -> Value:
    """Call ``function()`` in every process; where it raises in one, all raise an error that names the process.

    ``function`` may not communicate itself.

    >>> all_or_raise(lambda: 3)
    3
    """
    if not several():
        return function()
    value: Any = None
    error: Exception | None = None
    try:
        value = function()
    except Exception as raised:
        error = raised
    messages = _gather("" if error is None else _text(error))
    failed = [i for i, text in enumerate(messages) if text]
    if not failed:
        return value
    culprit = "" if set(messages) == {messages[0]} else f"process {failed[0]} of {len(messages)}: "
    raise _agreed(error, culprit + messages[failed[0]])


def gather(value: object) -> list:
    """``value`` of every process, in order and in every process, as JSON gives it back.

    >>> gather({"step": 3})
    [{'step': 3}]
    """
    return [json.loads(text) for text in _gather(json.dumps(value))] if several() else [value]


def assert_equal(what: str, value: Json, difference: Callable[[Json, Json], str] | None = None) -> None:
    """Raise UserError in every process, naming the first that differs, unless ``value`` is the same in all.

    ``what`` names the value; ``difference(value, process 0's)`` says in what the two differ, as JSON gives them back.
    """
    if not several():
        return
    local_value = json.loads(json.dumps(value, default=list))

    host0_value = run_on_host0(lambda: local_value)

    def compare() -> None:
        if local_value != host0_value:
            message = f" ({difference(local_value, host0_value)})" if difference else ""
            raise UserError(f"{what} differs from process 0's{message}: give every process the same")

    all_or_raise(compare)


@contextlib.contextmanager
def abort_on_local_error() -> Iterator[None]:
    """A context that ends this process at once on an error that the other processes do not raise, too.

    An ordinary exit would wait for them at JAX's last barrier, and they for this one in some computation. They end
    when JAX notices: at once in a collective of the CPU, else after the heartbeat's 100 seconds.
    """
    try:
        yield
    except AgreedError:
        raise
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        who = _who()
        if isinstance(error, UserError):
            print(f"error: {who}: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
            if isinstance(error, jax.errors.JaxRuntimeError):
                print(
                    f"{who}: if this is of a collective, another process has ended: see what it said", file=sys.stderr
                )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _who() -> str:
    try:
        return f"process {jax.process_index()} of {jax.process_count()}"
    except Exception:  # the error is that there is no backend
        return "this process"


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) and str(error) else f"{type(error).__name__}: {error}"


def _agreed(local_error: Exception | None, text: str) -> Exception:
    """The error to raise: this process's ``local_error`` where it is a bug, whose traceback is needed."""
    if local_error is None or isinstance(local_error, UserError):
        return AgreedError(text)
    return local_error


def _padded(text: bytes, longest: int) -> np.ndarray:
    # To a power of two, so that few sizes are compiled.
    size = 1 << max(longest - 1, 255).bit_length()
    return np.frombuffer(text.ljust(size, b"\0"), np.uint8)


def _broadcast(text: str) -> str:
    encoded = text.encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(encoded))))
    return bytes(multihost_utils.broadcast_one_to_all(_padded(encoded, length)))[:length].decode()


def _gather(text: str) -> list[str]:
    encoded = text.encode()
    lengths = multihost_utils.process_allgather(np.int32(len(encoded)))
    rows = multihost_utils.process_allgather(_padded(encoded, int(lengths.max())))
    return [bytes(row)[:length].decode() for row, length in zip(rows, lengths, strict=True)]
