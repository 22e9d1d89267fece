"""What one seed's run of a stage leaves in its folder: checkpoints, lines, predictions, DONE.json."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from gcl_jax import json_files, logs, metrics
from gcl_jax.checkpoints import integrity, warm_start
from gcl_jax.checkpoints.checkpoint import Checkpoints, flatten
from gcl_jax.config import stage_fingerprint
from gcl_jax.errors import UserError
from gcl_jax.paths import done_file
from gcl_jax.replacing import replacing
from gcl_jax.runtime import distributed, jax_settings, memory
from gcl_jax.training import final_logits, non_finite
from gcl_jax.training.stage import Stage
from gcl_jax.training.train_state import TrainState, to_save

# What an evaluation writes to metrics.jsonl; result.json has everything.
LOGGED = ("accuracy", "top5", "many", "medium", "few", "macro_recall", "nll", "ece")


class RestartFromCheckpoint(Exception):
    """The stage has to go on from its newest good checkpoint, with what has been learnt: see `StageRun.skipped`."""


class StageRun:
    """One seed of one stage in ``workdir``: where it starts or goes on, and everything it writes.

    Several of them can train side by side; each folder is then as if its seed had run alone.
    ``skipped`` are steps whose batch is left out, ``pending_eval`` says that the evaluation of the step that it resumed
    from is still to come. Raises UserError when the checkpoints are another run's, and when the start is missing.
    """

    def __init__(self, stage: Stage, seed: int, workdir: epath.Path, stage_before: str | None):
        self.stage, self.seed = stage, seed
        self._folder, self._done_file = workdir / stage.name, done_file(workdir, stage.name)
        before = workdir / (stage_before or "") / "checkpoints"
        if stage_before and not stage.block.init_from and not distributed.run_on_host0(before.exists):
            raise UserError(
                f"{stage.name} starts from {workdir / stage_before}, which is marked done but has no checkpoints any "
                "more: remove its DONE.json to train it again"
            )
        origin = str(workdir / stage_before) if stage_before else ""
        if stage.block.init_from:
            origin = distributed.run_on_host0(lambda: warm_start.seed_folder(stage.block.init_from, seed))
        found = distributed.all_or_raise(lambda: warm_start.load(origin, stage_before)) if origin else None
        self.state, self.inputs, self._started_from = stage.start(seed, found, origin)
        distributed.assert_equal(f"what {stage.name} starts from", self._started_from)
        keys = stage_fingerprint.training_keys(stage.config, stage.name) | {"seed": seed}
        self._keys = [
            stage_fingerprint.stage_key(keys, f"{stage.dataset.fingerprint} {start}") for start in self._started_from
        ]
        self._log = logs.MetricsLog(workdir / "metrics.jsonl")
        self._began, self._predictions, self.pending_eval = time.monotonic(), {}, False
        self.skipped: list[int] = distributed.run_on_host0(self._read_skipped)
        distributed.run_on_host0(lambda: integrity.refuse_to_start_over(self._folder))
        keep, constant = stage.config.checkpoint.keep, stage.constant_arrays
        self._checkpoints, self._best = Checkpoints(self._folder / "checkpoints", keep, constant), None
        self._best_accuracy = -1.0
        if stage.config.checkpoint.keep_best and "validation" in stage.dataset.splits:
            self._best = Checkpoints(self._folder / integrity.BEST / "checkpoints", 1, constant)
        self._board = logs.TensorBoard(self._folder / "tensorboard", stage.config.log.tensorboard)

    def _read_skipped(self) -> list[int]:
        """The steps whose batches are left out; not those of another config that had saved nothing here."""
        file = self._folder / "skipped.json"
        shape = {"steps": [int, ...], "stage_key?": str}
        found = json_files.read(file, shape=shape) if file.exists() else {}
        return found["steps"] if found and found.get("stage_key", self._keys[0]) in self._keys else []

    def __enter__(self) -> "StageRun":
        return self

    def __exit__(self, *exception) -> None:
        with contextlib.ExitStack() as stack:  # each, whatever becomes of the others
            for one in (self._board, self._best, self._checkpoints):
                if one:
                    stack.callback(one.close)

    def saved_steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return distributed.run_on_host0(self._checkpoints.steps)

    def side_by_side(self, step: int) -> int | None:
        """How many seeds trained in one program when ``step`` was saved, None before that was noted.

        Raises `RestartFromCheckpoint` where that checkpoint is damaged.
        """
        return self._undamaged(lambda: self._checkpoints.note(step)).get("side_by_side")

    def _undamaged(self, read: Callable[[], Any]) -> Any:
        """``read()``; where a process finds damage, the checkpoint is put in quarantine.

        `RestartFromCheckpoint` is then raised in all processes.
        """
        found = damaged = None
        try:
            found = read()
        except integrity.Damaged as error:
            damaged = error
        message = distributed.gather([str(damaged.folder), damaged.reason] if damaged else None)
        if bad := next((one for one in message if one), None):
            integrity.quarantine(integrity.Damaged(epath.Path(bad[0]), bad[1]))
            raise RestartFromCheckpoint from damaged
        return found

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
                    f"{self._folder} holds checkpoints of another run (its data, seed, start or config differ): choose "
                    "another --workdir, or remove that folder to train anew"
                )
            self.stage.require_classes(note.get("class_names"), str(self._folder))
            self.state = self.stage.from_saved(tree)
            self._began -= note["seconds"]
            self.pending_eval = note.get("evaluation_owed", False)
            logs.log_info(f"{self._name}: resuming after step {step}{self._other_compiler(note)}")
        step = -1 if step is None else step
        self._checkpoints.forget_after(step)
        distributed.run_on_host0(lambda: self._log.cut_back(self.stage.name, step, pending_eval=self.pending_eval))
        for record in distributed.run_on_host0(lambda: self._log.read(self.stage.name)):
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

    def log(self, step: int, metric_sums: dict[str, np.ndarray]) -> str:
        """Write the training line of ``step`` and return the loss for people; `_diverged` if a number is not finite."""
        if metric_sums["first_nonfinite"]["step"]:
            self._diverged(metric_sums["first_nonfinite"], step)
        sums = {name: value for name, value in metric_sums.items() if name not in ("count", "first_nonfinite")}
        means = {name: float(value / metric_sums["count"]) for name, value in sums.items() if metric_sums["count"]}
        self._record(step, "train", means | {"learning_rate": self._learning_rate(step)})
        return f"{means['loss']:.3f}" if means else "all skipped"

    def _learning_rate(self, step: int) -> float:
        return float(f"{float(self.stage.settings.schedule(step - 1)):.7g}")  # float32 has no more digits

    def evaluate(self, step: int, state: TrainState) -> Callable[[], None]:
        """Dispatch an evaluation; calling the result fetches it, writes its lines, and saves the best on validation."""
        fetch = self.stage.evaluate(self.stage.variables(state), self.inputs.info)
        kept = None
        if self._best or not step:  # at step 0 no step has looked at the numbers yet
            self._require_finite(step, state)
        if self._best:
            kept = self._copy(state)

        def finish():
            self._predictions = fetch()
            epochs, done = self.stage.settings.epochs, step // self.stage.settings.steps_per_epoch
            for name, predictions in self._predictions.items():
                summary = metrics.summarize(predictions, self.stage.dataset.counts)
                self._record(step, name, {k: summary[k] for k in LOGGED})
                logs.log_info(f"{self._name}: epoch {done} of {epochs}, {name} accuracy {summary['accuracy']:.2f} %")
                if kept and name == "validation" and summary["accuracy"] > self._best_accuracy:
                    self._best_accuracy = summary["accuracy"]
                    if step > max(self._best.steps(), default=-1):  # not again after a kill: it is the same
                        self._best.save(step, kept, self._note() | {"validation_accuracy": summary["accuracy"]})

        return finish

    def save(self, step: int, state: TrainState, pending_eval: bool = False) -> None:
        """Save a checkpoint in the background, whose evaluation may be ``pending_eval``.

        UserError or `RestartFromCheckpoint` if a number of this step or of one before was not finite.
        """
        self._require_finite(step, state)
        self._checkpoints.save(step, self._copy(state), self._note() | {"evaluation_owed": pending_eval})

    def _require_finite(self, step: int, state: TrainState) -> None:
        first_nonfinite = jax.device_get(state.first_nonfinite)
        # Steps note what they made; a start from elsewhere has none before it.
        if first_nonfinite["step"] or not _all_finite((state.params, state.model_state, state.method_state)):
            self._diverged(first_nonfinite, step)

    def _copy(self, state: TrainState) -> dict:
        """What a checkpoint holds; a copy, since the step donates these buffers while a save still reads them."""
        return jax.tree.map(jnp.copy, to_save(state))

    def _note(self) -> dict:
        return {
            "stage_key": self._keys[0],
            "seconds": time.monotonic() - self._began,
            "side_by_side": self.stage.seeds,
            "compiler_environment": jax_settings.compiler(),
            "class_names": self.stage.dataset.class_names,
            "class_counts": self.stage.dataset.counts.tolist(),
            "image_shape": self.stage.image_shape,
        }

    def finish(self, step: int, state: TrainState) -> dict:
        """Write predictions and DONE.json, and return what that holds, in every process."""
        if not self._predictions:
            # Killed between the last checkpoint and DONE.json: nothing was left to train.
            self._predictions = self.stage.evaluate(self.stage.variables(state), self.inputs.info)()
        self._checkpoints.wait()
        variables = self.stage.variables(state)
        more = final_logits.store_and_measure(self.stage, variables, self.inputs.info, self._folder, self._name)
        return distributed.run_on_host0(lambda: self._write_done(step, more))

    def _write_done(self, step: int, more: dict[str, dict]) -> dict:
        save_predictions(self._folder, self._predictions)
        counts = self.stage.dataset.counts
        done = {
            "stage_key": self._keys[0],
            "started_from": self._started_from[0],
            "steps": step,
            "epochs": self.stage.settings.epochs,
            "seconds": round(time.monotonic() - self._began, 2),
            "skipped_steps": self.skipped,
            "compiler_environment": jax_settings.compiler(),
            "memory": memory.peaks(),
            "final": {
                name: metrics.summarize(found, counts) | more.get(name, {}) for name, found in self._predictions.items()
            },
            "best": best_epochs(self._log.read(self.stage.name)),
        }
        json_files.write(self._done_file, done)
        return done

    def _record(self, step: int, kind: str, scalars: dict) -> None:
        epoch = -(-step // self.stage.settings.steps_per_epoch)
        self._log.write({"stage": self.stage.name, "step": step, "epoch": epoch, "kind": kind} | scalars)
        self._board.write(step, {f"{kind}/{name}": value for name, value in scalars.items()})

    def _diverged(self, first_nonfinite: dict, noticed: int) -> None:
        """Write down what is not finite; then raise UserError, or `RestartFromCheckpoint` to skip that batch."""
        step, state = int(first_nonfinite["step"]) or noticed, self.state
        names = flatten(
            {
                "params": self.stage.trained(state.params),
                **state.model_state,
                "method_state": state.method_state,
            }
        )
        parts = ("params", *sorted(state.model_state), "method_state")
        in_order = [n for part in parts for n in names if n.startswith(f"{part}/")]
        counts = np.asarray(first_nonfinite["counts"])
        found = {name: int(count) for name, count in zip(in_order, counts, strict=True) if count}
        if not step:
            raise UserError(f"{self._name} starts from numbers that are not finite: train the stage before again")
        file = self._folder / f"non_finite_{step}.json"
        good = max(self.saved_steps(), default=0)
        what = {
            "stage": self.stage.name,
            "seed": self.seed,
            "step": step,
            "noticed_after_step": noticed,
            "learning_rate": self._learning_rate(step),
            "loss": str(float(first_nonfinite["loss"])),
            "batch": self.stage.feed.entries(self.seed, step),
            **non_finite.report(found, in_order),
            "last_good_checkpoint": good,
        }
        distributed.run_on_host0(lambda: json_files.write(file, what))
        rate, most = what["learning_rate"], self.stage.config.non_finite.max_skips
        said = (
            f"{self._name}: a number became not finite at step {step} (loss {what['loss']}, learning rate {rate:g}, "
            f"{len(found)} of {len(in_order)} arrays); {file} lists the batch and what is wrong. "
        )
        if self.stage.config.non_finite.action == "skip" and step not in self.skipped and len(self.skipped) < most:
            self.skipped = sorted([*self.skipped, step])
            kept = {"stage_key": self._keys[0], "steps": self.skipped}
            distributed.run_on_host0(lambda: json_files.write(self._folder / "skipped.json", kept))
            logs.log_info(
                f"warning: {said}Going back to step {good}, to skip that batch ({len(self.skipped)} of {most})"
            )
            raise RestartFromCheckpoint
        raise UserError(
            f"{said}Nothing of it was saved. Lower the stage's learning_rate or lengthen its warmup_percent (in a new "
            "--workdir), leave such batches out with --config.non_finite.action=skip, or find the first bad operation "
            "with --config.debug_nans=True"
        )


@jax.jit
def _all_finite(tree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


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
    for name, found in predictions.items():
        confused = metrics.confusion(found.label, found.predicted)
        path = folder / f"predictions_{name}.npz"
        with replacing(path) as new, new.open("wb") as file:
            np.savez_compressed(file, confusion=confused, **vars(found))
