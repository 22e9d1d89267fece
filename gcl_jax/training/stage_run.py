"""What one seed's run of a stage leaves in its folder: checkpoints, lines, predictions, DONE.json."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from gcl_jax import logs, metrics
from gcl_jax.checkpoints import integrity
from gcl_jax.config import stage_fingerprint
from gcl_jax.errors import UserError
from gcl_jax.replacing import replacing
from gcl_jax.runtime import distributed, jax_settings, memory
from gcl_jax.training import final_logits
from gcl_jax.training.nonfinite_watch import NonFiniteWatch
from gcl_jax.training.stage import Stage
from gcl_jax.training.starts import start_of
from gcl_jax.training.train_state import TrainState, to_save
from gcl_jax.workdir.seed_dir import SeedDir

# What an evaluation writes to metrics.jsonl; result.json has everything.
LOGGED = ("accuracy", "top5", "many", "medium", "few", "macro_recall", "nll", "ece")


class RestartFromCheckpoint(Exception):
    """A checkpoint was damaged, and put in quarantine: the stage has to go on from the one before."""


class StageRun:
    """One seed of one stage in ``workdir``: where it starts or goes on, and everything it writes.

    Several of them can train side by side; each folder is then as if its seed had run alone. ``pending_eval`` says that
    the evaluation of the step that it resumed from is still to come. Raises UserError when the checkpoints are another
    run's, and when the start is missing.
    """

    def __init__(self, stage: Stage, seed: int, workdir: epath.Path):
        self.stage, self.seed = stage, seed
        self._run = SeedDir(workdir)
        self._dir = self._run.stage(stage.name)
        start = start_of(stage.config, stage.name, seed, workdir)
        self.state, self.inputs, self._started_from = stage.start(seed, start.load(), start.origin)
        distributed.assert_equal(f"what {stage.name} starts from", self._started_from)
        keys = stage_fingerprint.training_keys(stage.config, stage.name) | {"seed": seed}
        self._keys = [
            stage_fingerprint.stage_key(keys, f"{stage.dataset.fingerprint} {digest}") for digest in self._started_from
        ]
        self._began, self._predictions, self._raw, self.pending_eval = time.monotonic(), {}, {}, False
        self._watch = NonFiniteWatch(stage, seed, self._dir, self._name, self.state)
        keep, constant = stage.config.checkpoint.keep, stage.constant_arrays
        self._checkpoints, self._best = self._dir.open_checkpoints(keep, constant), None
        self._best_accuracy = -1.0
        if stage.config.checkpoint.keep_best and "validation" in stage.dataset.splits:
            self._best = self._dir.open_best(constant)
        self._board = logs.TensorBoard(self._dir.path / "tensorboard", stage.config.log.tensorboard)

    def __enter__(self) -> "StageRun":
        return self

    def __exit__(self, *exception) -> None:
        with contextlib.ExitStack() as stack:  # each, whatever becomes of the others
            for resource in (self._board, self._best, self._checkpoints):
                if resource:
                    stack.callback(resource.close)

    def saved_steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return self._checkpoints.steps()

    def side_by_side(self, step: int) -> int | None:
        """How many seeds trained in one program when ``step`` was saved, None before that was noted.

        Raises `RestartFromCheckpoint` where that checkpoint is damaged.
        """
        return self._undamaged(lambda: self._checkpoints.note(step)).get("side_by_side")

    def _undamaged(self, read: Callable[[], Any]) -> Any:
        """``read()``; where a process finds damage, the checkpoint is put in quarantine.

        `RestartFromCheckpoint` is then raised in all processes.
        """
        result = damaged = None
        try:
            result = read()
        except integrity.Damaged as error:
            damaged = error
        message = distributed.gather([str(damaged.folder), damaged.reason] if damaged else None)
        if bad := next((damage_of_process for damage_of_process in message if damage_of_process), None):
            integrity.quarantine(integrity.Damaged(epath.Path(bad[0]), bad[1]))
            raise RestartFromCheckpoint from damaged
        return result

    def resume(self, step: int | None) -> None:
        """Go on from the checkpoint of ``step`` (None = from the start), and forget all that came after it.

        A damaged checkpoint is set aside, and `RestartFromCheckpoint` raised.
        """
        if step is not None:
            self._undamaged(lambda: self._checkpoints.note(step))  # before all read the arrays, and wait for each other
            like = to_save(self.state)
            tree, note = self._undamaged(lambda: self._checkpoints.restore(step, like))
            if note["stage_key"] not in self._keys:
                raise UserError(
                    f"{self._dir.path} holds checkpoints of another run (its data, seed, start or config differ): "
                    "choose another --workdir, or remove that folder to train anew"
                )
            self.stage.require_classes(note.get("class_names"), str(self._dir.path))
            skipped = note.get("skipped_steps")
            skipped = self._dir.older_skips(self._keys) if skipped is None else skipped
            self.state = self._watch.resumed(step, self.stage.from_saved(tree), skipped)
            self._began -= note["seconds"]
            self.pending_eval = note.get("evaluation_owed", False)
            logs.log_info(f"{self._name}: resuming after step {step}{self._other_compiler(note)}")
        step = -1 if step is None else step
        self._checkpoints.forget_after(step)
        self._run.cut_back(self.stage.name, step, pending_eval=self.pending_eval)
        for record in self._run.records(self.stage.name):
            if record["kind"] == "validation":
                self._best_accuracy = max(self._best_accuracy, record["accuracy"])

    @staticmethod
    def _other_compiler(note: dict) -> str:
        """For people: what the compiler is told today that it was not when ``note`` was written."""
        now = jax_settings.compiler()
        then = note.get("compiler_environment", now)  # absent where an older version wrote it
        message = [f"{name} {then.get(name, '')!r} -> {now.get(name, '')!r}" for name in sorted({*then, *now})
                if then.get(name) != now.get(name)]  # fmt: skip
        return f", compiled otherwise ({'; '.join(message)}): equal but for rounding" if message else ""

    @property
    def _name(self) -> str:
        return logs.named(self.stage.name, self.seed, alone=self.stage.config.num_seeds == 1)

    def check(self, step: int, metric_sums: dict) -> None:
        """Report steps that were not finite, and raise UserError if the run has to end (see `NonFiniteWatch`)."""
        self._watch.check(step, metric_sums["first_nonfinite"], metric_sums["skipped"])

    def log(self, step: int, metric_sums: dict) -> str:
        """Write the training line of ``step`` and return the loss for people."""
        sums = {k: v for k, v in metric_sums.items() if k not in ("count", "first_nonfinite", "skipped")}
        means = {name: float(value / metric_sums["count"]) for name, value in sums.items() if metric_sums["count"]}
        self._record(step, "train", means | {"learning_rate": self._watch.learning_rate(step)})
        return f"{means['loss']:.3f}" if means else "all skipped"

    def evaluate(self, step: int, state: TrainState) -> Callable[[], None]:
        """Dispatch an evaluation; calling the result fetches it, writes its lines, and saves the best on validation."""
        fetch = self.stage.evaluate(self.stage.variables(state), self.inputs.info)
        fetch_raw = self._evaluate_raw(state)
        kept = None
        if self._best or not step:  # at step 0 no step has looked at the numbers yet
            self._watch.require_finite(step, state)
        if self._best:
            kept = self._copy(state)

        def finish():
            self._predictions, self._raw = fetch(), fetch_raw()
            epochs, done = self.stage.settings.epochs, step // self.stage.settings.steps_per_epoch
            for name, predictions in self._predictions.items():
                summary = metrics.summarize(predictions, self.stage.dataset.counts)
                raw = {"raw_accuracy": self._raw[name]["accuracy"]} if self._raw else {}
                self._record(step, name, {k: summary[k] for k in LOGGED} | raw)
                logs.log_info(f"{self._name}: epoch {done} of {epochs}, {name} accuracy {summary['accuracy']:.2f} %")
                if kept and name == "validation" and summary["accuracy"] > self._best_accuracy:
                    self._best_accuracy = summary["accuracy"]
                    if step > max(self._best.steps(), default=-1):  # not again after a kill: it is the same
                        self._best.save(step, kept, self._note() | {"validation_accuracy": summary["accuracy"]})

        return finish

    def _evaluate_raw(self, state: TrainState) -> Callable[[], dict[str, dict]]:
        """Dispatch an evaluation of the parameters themselves, where it is their averages that count."""
        if not self.stage.settings.ema_decay:
            return dict
        fetch = self.stage.evaluate(self.stage.variables(state.replace(ema={})), self.inputs.info)
        counts = self.stage.dataset.counts
        return lambda: {name: metrics.summarize(predictions, counts) for name, predictions in fetch().items()}

    def save(self, step: int, state: TrainState, pending_eval: bool = False) -> None:
        """Save a checkpoint in the background, whose evaluation may be ``pending_eval``.

        UserError if a number in it is not finite.
        """
        self._watch.require_finite(step, state)
        if self._best:  # with this checkpoint its line is one that a kill does not make again
            self._best.wait()
        self._checkpoints.save(step, self._copy(state), self._note() | {"evaluation_owed": pending_eval})
        self._watch.last_saved = step

    def _copy(self, state: TrainState) -> dict:
        """What a checkpoint holds; a copy, since the step donates these buffers while a save still reads them."""
        return jax.tree.map(jnp.copy, to_save(state))

    def _note(self) -> dict:
        return {
            "stage_key": self._keys[0],
            "skipped_steps": self._watch.skipped,
            "seconds": time.monotonic() - self._began,
            "side_by_side": self.stage.seeds,
            "compiler_environment": jax_settings.compiler(),
            "class_names": self.stage.dataset.class_names,
            "class_counts": self.stage.dataset.counts.tolist(),
            "image_shape": self.stage.image_shape,
        }

    def finish(self, step: int, state: TrainState) -> None:
        """Write predictions and DONE.json."""
        if not self._predictions:
            # Killed between the last checkpoint and DONE.json: nothing was left to train.
            self._predictions = self.stage.evaluate(self.stage.variables(state), self.inputs.info)()
            self._raw = self._evaluate_raw(state)()
        self._checkpoints.wait()
        variables, folder = self.stage.variables(state), self._dir.path
        more = final_logits.store_and_measure(self.stage, variables, self.inputs.info, folder, self._name)
        counts, predictions = self.stage.dataset.counts, self._predictions
        done = {
            "stage_key": self._keys[0],
            "started_from": self._started_from[0],
            "steps": step,
            "epochs": self.stage.settings.epochs,
            "seconds": round(time.monotonic() - self._began, 2),
            "skipped_steps": self._watch.skipped,
            "compiler_environment": jax_settings.compiler(),
            "memory": memory.peaks(),
            "final": {
                name: metrics.summarize(of_split, counts) | more.get(name, {}) for name, of_split in predictions.items()
            },
            "best": best_epochs(self._run.records(self.stage.name)),
        } | ({"final_raw": self._raw} if self._raw else {})
        self._dir.write_done(done, before=lambda folder: save_predictions(folder, predictions))

    def _record(self, step: int, kind: str, scalars: dict) -> None:
        epoch = -(-step // self.stage.settings.steps_per_epoch)
        self._run.record({"stage": self.stage.name, "step": step, "epoch": epoch, "kind": kind} | scalars)
        self._board.write(step, {f"{kind}/{name}": value for name, value in scalars.items()})


def best_epochs(records: list[dict]) -> dict:
    """The best evaluated epoch by test accuracy (what published numbers are) and, honestly, by validation accuracy.

    >>> best_epochs([{"kind": "test", "epoch": 1, "accuracy": 3.0}, {"kind": "test", "epoch": 2, "accuracy": 2.0}])
    {'on_test': {'epoch': 1, 'test_accuracy': 3.0}}
    """
    test = {r["epoch"]: r["accuracy"] for r in records if r["kind"] == "test"}
    validation = {r["epoch"]: r["accuracy"] for r in records if r["kind"] == "validation"}
    validation = {epoch: score for epoch, score in validation.items() if epoch in test}
    best = {}
    for name, scores in (("on_test", test), ("on_validation", validation)):
        if scores:
            epoch = max(scores, key=scores.get)  # the earliest of equals
            best[name] = {"epoch": epoch, "test_accuracy": test[epoch]}
    return best


def save_predictions(folder: epath.Path, predictions: dict[str, metrics.Predictions]) -> None:
    """Write every example's prediction, and what is confused with what, to predictions_SPLIT.npz."""
    for name, of_split in predictions.items():
        confused = metrics.confusion(of_split.label, of_split.predicted)
        path = folder / f"predictions_{name}.npz"
        with replacing(path) as new, new.open("wb") as file:
            np.savez_compressed(file, confusion=confused, **vars(of_split))
