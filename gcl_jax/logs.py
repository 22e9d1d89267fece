"""What a run tells, in its first process: JSON lines (the truth), TensorBoard through clu, a bar, plain lines."""

import json
import sys
from collections.abc import Mapping

from etils import epath
from tqdm import tqdm

from gcl_jax.errors import UserError, writing
from gcl_jax.machine import distributed, quiet_tensorflow


def say(text: str) -> None:
    """Print a line above the progress bar, if there is one."""
    if distributed.is_first():
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


class MetricsLog:
    """``metrics.jsonl``: one line per logged step, each exactly once whatever was killed and resumed.

    Lines carry no wall time, so that a resumed run's file equals an undisturbed one's.
    """

    def __init__(self, path: epath.Path):
        self._path = path

    def cut_back(self, stage: str, step: int, *, owed: bool = False) -> None:
        """Drop the lines of ``stage`` after ``step``, and a last line that a kill left unfinished.

        With ``owed``, also those of an evaluation at ``step``, which is still to come.
        """
        if not self._path.exists():
            return
        records = self._records()

        def stands(record):
            evaluated = owed and record["step"] == step and record["kind"] != "train"
            return record["stage"] != stage or (record["step"] <= step and not evaluated)

        kept = [line for line, record in records if stands(record)]
        temporary = self._path.parent / f".{self._path.name}.tmp"
        with writing(self._path):
            temporary.write_text("".join(line + "\n" for line in kept))
            temporary.replace(self._path)

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
        content, found = self._path.read_bytes(), []
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
            try:
                record = json.loads(line)
                if not {"stage", "step", "kind"} <= record.keys():
                    raise ValueError("stage, step or kind is missing")
            except (ValueError, AttributeError) as error:
                raise UserError(f"line {number} of {self._path} is not one of ours ({error}): remove it") from error
            found.append((line.decode(), record))
        return found


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
                say(f"TensorBoard is off: {error.name} is missing (pip install 'gcl_jax[tf]'); metrics.jsonl goes on")

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
