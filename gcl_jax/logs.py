"""What a run tells, in its first process: JSON lines (the truth), TensorBoard through clu, a bar, plain lines."""

import contextlib
import contextvars
import json
import sys
from collections.abc import Iterator, Mapping

from etils import epath
from tqdm import tqdm

from gcl_jax import json_files, json_shape
from gcl_jax.errors import UserError, writing
from gcl_jax.replacing import replacing
from gcl_jax.runtime import distributed, quiet_tensorflow

# What is read of a line of metrics.jsonl again.
_RECORD = {"stage": str, "step": int, "kind": str}
_EVALUATION = {"epoch": int, "accuracy": json_shape.NUMBER}


def log_info(text: str) -> None:
    """Print a line above the progress bar, if there is one."""
    if distributed.is_first():
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


_subject = contextvars.ContextVar("subject", default="")


@contextlib.contextmanager
def about(subject: str) -> Iterator[None]:
    """Let lines on training within, see `named`, begin with ``subject``: what is trained, where several things are."""
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


def named(stage: str, seed: int | None = None, *, alone: bool = False) -> str:
    """How a line on training calls a stage and its seed, which need not be told of a run ``alone``.

    >>> with about("ce on digits_lt_100"): named("representation", 1, alone=True)
    'ce on digits_lt_100, representation, seed 1'
    >>> named("representation", 1, alone=True)
    'representation'
    """
    subject = _subject.get()
    message = seed is not None and (subject or not alone)
    return ", ".join([*filter(None, [subject]), stage, *([f"seed {seed}"] if message else [])])


class MetricsLog:
    """``metrics.jsonl``: one line per logged step, each exactly once whatever was killed and resumed.

    Lines carry no wall time, so that a resumed run's file equals an undisturbed one's.
    """

    def __init__(self, path: epath.Path):
        self._path = path

    def cut_back(self, stage: str, step: int, *, pending_eval: bool = False) -> None:
        """Drop the lines of ``stage`` after ``step``, and a last line that a kill left unfinished.

        With ``pending_eval``, also those of an evaluation at ``step``, which is still to come.
        """
        if not self._path.exists():
            return
        records = self._records()

        def stands(record):
            evaluated = pending_eval and record["step"] == step and record["kind"] != "train"
            return record["stage"] != stage or (record["step"] <= step and not evaluated)

        kept = [line for line, record in records if stands(record)]
        with replacing(self._path) as new:
            new.write_bytes("".join(line + "\n" for line in kept).encode())

    def write(self, record: Mapping) -> None:
        """Append one line; it is with the operating system when this returns."""
        if distributed.is_first():
            with writing(self._path), self._path.open("a") as file:
                file.write(json.dumps(record, allow_nan=False) + "\n")

    def read(self, stage: str) -> list[dict]:
        """The records of ``stage``, in order."""
        if not self._path.exists():
            return []
        return [record for _, record in self._records() if record["stage"] == stage]

    def _records(self) -> list[tuple[str, dict]]:
        """(line, its record) of every whole line."""
        content, records = json_files.regular_bytes(self._path), []
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
            try:
                record = json.loads(line)
                message = json_shape.mismatch(record, _RECORD)
                if not message and record["kind"] in ("test", "validation"):
                    message = json_shape.mismatch(record, _EVALUATION)
                if message:
                    raise ValueError(message)
            except (ValueError, RecursionError) as error:
                raise UserError(f"line {number} of {self._path} is not one of ours ({error}): remove it") from error
            records.append((line.decode(), record))
        return records


class TensorBoard:
    """Scalars for TensorBoard through clu; without TensorFlow one printed line, and JSON lines go on."""

    def __init__(self, folder: epath.Path, enabled: bool):
        self._writer = None
        if enabled and distributed.is_first():
            try:
                # clu's writers import TensorFlow (seconds), so only here.
                quiet_tensorflow.load()
                from clu import metric_writers

                self._writer = metric_writers.SummaryWriter(str(folder))
            except ImportError as error:
                log_info(
                    f"TensorBoard is off: {error.name} is missing (pip install 'gcl_jax[tf]'); metrics.jsonl goes on"
                )

    def write(self, step: int, scalars: Mapping[str, object]) -> None:
        """Write the numbers among ``scalars`` at ``step``."""
        if self._writer:
            self._writer.write_scalars(step, {k: v for k, v in scalars.items() if isinstance(v, int | float)})

    def close(self) -> None:
        """Flush and close."""
        if self._writer:
            self._writer.close()


def progress(stage: str, start: int, total: int) -> tqdm:
    """A bar with rate and time left; silent when the output is no terminal."""
    disable = None if distributed.is_first() else True
    return tqdm(total=total, initial=start, desc=stage, unit="step", disable=disable, dynamic_ncols=True, leave=False)
