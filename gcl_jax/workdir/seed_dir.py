"""The folder of one seed's run, and of each of its stages: the files there, by name and by what they say."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from etils import epath

from gcl_jax import json_files, logs, paths
from gcl_jax.checkpoints import integrity
from gcl_jax.checkpoints.checkpoint import Checkpoints
from gcl_jax.runtime import distributed
from gcl_jax.workdir import host0, results


class StageDir:
    """The folder of one stage: checkpoints/, DONE.json, predictions, reports of what was not finite.

    To be used by every process alike: process 0 looks and writes (checkpoints are written by all).
    """

    def __init__(self, run: epath.Path, stage: str):
        self.path, self._done_file = run / stage, paths.done_file(run, stage)

    @property
    def checkpoints(self) -> epath.Path:
        """Where the checkpoints lie."""
        return self.path / "checkpoints"

    def open_checkpoints(self, keep: int, constant: Iterable[str]) -> Checkpoints:
        """The stage's checkpoints (see `Checkpoints`); UserError if there were some, of which none is good."""
        distributed.run_on_host0(lambda: integrity.refuse_to_start_over(self.path))
        return Checkpoints(self.checkpoints, keep, constant)

    def open_best(self, constant: Iterable[str]) -> Checkpoints:
        """The one checkpoint that is best on validation."""
        return Checkpoints(self.path / integrity.BEST / "checkpoints", 1, constant)

    def has_checkpoints(self) -> bool:
        """Whether the folder of the checkpoints is there."""
        return host0.exists(self.checkpoints)

    def is_saved(self) -> bool:
        """Whether there is a checkpoint."""
        names = distributed.run_on_host0(lambda: [path.name for path in paths.matching(self.checkpoints, "[0-9]*")])
        return any(name.isdecimal() for name in names)

    def is_done(self) -> bool:
        """Whether the stage is finished."""
        return host0.exists(self._done_file)

    def done(self, shape: Mapping) -> dict:
        """What DONE.json says, of ``shape``."""
        return host0.read_json(self._done_file, shape)

    def write_done(self, content: Mapping, before: Callable[[epath.Path], None]) -> None:
        """Write DONE.json, after what ``before(folder)`` writes in process 0: its presence says that all is there."""
        host0.write_json(self._done_file, content, lambda: before(self.path))

    def write_nonfinite(self, step: int, content: Mapping) -> epath.Path:
        """Write what was not finite at ``step``; returns the file."""
        file = self.path / f"non_finite_{step}.json"
        host0.write_json(file, content)
        return file

    def older_skips(self, keys: Sequence[str]) -> list[int]:
        """Steps that an older version skipped, from a file of its own; not those of another config, with other keys."""

        def read():
            file = self.path / "skipped.json"
            shape = {"steps": [int, ...], "stage_key?": str}
            content = json_files.read(file, shape=shape) if file.exists() else {"steps": []}
            return sorted(content["steps"]) if content.get("stage_key", keys[0]) in keys else []

        return distributed.run_on_host0(read)


class SeedDir:
    """The folder of one seed's run: its stages, metrics.jsonl, result.json. For every process alike."""

    def __init__(self, path: epath.Path):
        self.path, self._result_file = path, path / "result.json"
        self._log = logs.MetricsLog(path / "metrics.jsonl")

    def stage(self, name: str) -> StageDir:
        """The folder of the stage ``name``."""
        return StageDir(self.path, name)

    def make(self) -> None:
        """Make the folder, if it is not there."""
        distributed.run_on_host0(lambda: host0.make_folder(self.path))

    def is_finished(self) -> bool:
        """Whether result.json is there."""
        return host0.exists(self._result_file)

    def result(self) -> dict:
        """What result.json says."""
        return host0.read_json(self._result_file, results.RESULT)

    def write_result(self, content: Mapping) -> None:
        """Write result.json."""
        host0.write_json(self._result_file, content)

    def write_evaluation(self, content: Mapping) -> None:
        """Write eval.json."""
        host0.write_json(self.path / "eval.json", content)

    def record(self, line: Mapping) -> None:
        """Append a line to metrics.jsonl."""
        self._log.write(line)

    def records(self, stage: str) -> list[dict]:
        """The lines of ``stage`` in metrics.jsonl, in order."""
        return distributed.run_on_host0(lambda: self._log.read(stage))

    def cut_back(self, stage: str, step: int, *, pending_eval: bool) -> None:
        """Drop the lines of ``stage`` after ``step`` (see `logs.MetricsLog.cut_back`)."""
        distributed.run_on_host0(lambda: self._log.cut_back(stage, step, pending_eval=pending_eval))
