"""What one seed's run of a stage leaves in its folder: checkpoints, lines, predictions, DONE.json."""

import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from gcl_jax import config as config_lib
from gcl_jax import distributed, handover, logs, memory, metrics
from gcl_jax.checkpoint import Checkpoints
from gcl_jax.errors import UserError
from gcl_jax.stage import Stage
from gcl_jax.train_state import TrainState, merge, split
from gcl_jax.train_step import Constants

# What an evaluation writes to metrics.jsonl; result.json has everything.
LOGGED = ("accuracy", "top5", "many", "medium", "few", "macro_recall", "nll", "ece")


def done_file(workdir: epath.Path, stage: str) -> epath.Path:
    """The file whose presence says that ``stage`` is finished; written last."""
    return workdir / stage / "DONE.json"


class SeedRun:
    """One seed of one stage in ``workdir``: where it starts or goes on, and everything it writes.

    Several of them can train side by side; each folder is then as if its seed had run alone.
    Raises UserError when the checkpoints are another run's, and when the start is missing.
    """

    def __init__(self, stage: Stage, seed: int, workdir: epath.Path, stage_before: str | None):
        self.stage, self.seed = stage, seed
        self._folder, self._done_file = workdir / stage.name, done_file(workdir, stage.name)
        before = workdir / (stage_before or "") / "checkpoints"
        if stage_before and not stage.block.init_from and not distributed.first(before.exists):
            raise UserError(
                f"{stage.name} starts from {workdir / stage_before}, which is marked done but has no checkpoints any "
                "more: remove its DONE.json to train it again"
            )
        origin = str(workdir / stage_before) if stage_before else ""
        if stage.block.init_from:
            origin = distributed.first(lambda: handover.seed_folder(stage.block.init_from, seed))
        found = distributed.everywhere(lambda: handover.load(origin, stage_before)) if origin else None
        self.state, self.constants, self._started_from = stage.start(seed, found, origin)
        distributed.same(f"what {stage.name} starts from", self._started_from)
        keys = config_lib.training_keys(stage.config, stage.name) | {"seed": seed}
        self._key = config_lib.stage_key(keys, f"{stage.dataset.fingerprint} {self._started_from}")
        self._log = logs.MetricsLog(workdir / "metrics.jsonl")
        self._began, self._predictions = time.monotonic(), {}
        self._checkpoints = Checkpoints(self._folder / "checkpoints", stage.config.checkpoint.keep)
        self._board = logs.TensorBoard(self._folder / "tensorboard", stage.config.log.tensorboard)

    def __enter__(self) -> "SeedRun":
        return self

    def __exit__(self, *exception) -> None:
        self._checkpoints.close()
        self._board.close()

    def saved_steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return distributed.first(self._checkpoints.steps)

    def resume(self, step: int | None) -> None:
        """Go on from the checkpoint of ``step`` (None = from the start), and forget the lines that came after it."""
        if step is not None:
            tree, note = self._checkpoints.restore(step, to_save(self.state, self.constants))
            if note["stage_key"] != self._key:
                raise UserError(
                    f"{self._folder} holds checkpoints of another run (its data, seed, start or config differ): choose "
                    "another --workdir, or remove that folder to train anew"
                )
            self.state, self.constants = from_saved(self.stage, tree, self.constants)
            self._began -= note["seconds"]
            logs.say(f"{self._name}: resuming after step {step}")
        distributed.first(lambda: self._log.cut_back(self.stage.name, -1 if step is None else step))

    @property
    def _name(self) -> str:
        return self.stage.name if self.stage.seeds == 1 else f"{self.stage.name}, seed {self.seed}"

    def log(self, step: int, tally: dict[str, np.ndarray]) -> str:
        """Write the training line of ``step`` and return the loss for people; UserError if a mean is not finite."""
        means = {name: float(value / tally["count"]) for name, value in tally.items() if name != "count"}
        for name, value in means.items():
            if not math.isfinite(value):
                self._diverged(name, value, step)
        rate = self.stage.settings.learning_rates[(step - 1) // self.stage.settings.steps_per_epoch]
        self._record(step, "train", means | {"learning_rate": rate})
        return f"{means['loss']:.3f}"

    def evaluate(self, step: int, state: TrainState) -> Callable[[], None]:
        """Dispatch an evaluation; calling the result fetches it and writes its lines."""
        fetch = self.stage.evaluate(self.stage.variables(state, self.constants), self.constants.stats)

        def finish():
            self._predictions = fetch()
            epochs, done = self.stage.settings.epochs, step // self.stage.settings.steps_per_epoch
            for name, predictions in self._predictions.items():
                summary = metrics.summarize(predictions, self.stage.dataset.counts)
                self._record(step, name, {k: summary[k] for k in LOGGED})
                logs.say(f"{self._name}: epoch {done} of {epochs}, {name} accuracy {summary['accuracy']:.2f} %")

        return finish

    def save(self, step: int, state: TrainState) -> None:
        """Save a checkpoint in the background; UserError if a parameter or statistic is not finite."""
        # The loss of a step says nothing of the update it made, which is what a checkpoint would keep.
        if not _all_finite((state.params, state.batch_stats, state.method_state)):
            self._diverged("a parameter or statistic", "not finite", step)
        if step in self.saved_steps():
            return  # a kill came between this seed's save and another's, and this is the same step again
        note = {
            "stage_key": self._key,
            "seconds": time.monotonic() - self._began,
            "class_names": self.stage.dataset.class_names,
            "class_counts": self.stage.dataset.counts.tolist(),
            "image_shape": self.stage.image_shape,
        }
        # A copy: the step donates these buffers while the save still reads them.
        self._checkpoints.save(step, jax.tree.map(jnp.copy, to_save(state, self.constants)), note)

    def finish(self, step: int, state: TrainState) -> dict:
        """Write predictions and DONE.json, and return what that holds, in every process."""
        if not self._predictions:
            # Killed between the last checkpoint and DONE.json: nothing was left to train.
            self._predictions = self.stage.evaluate(self.stage.variables(state, self.constants), self.constants.stats)()
        self._checkpoints.wait()
        return distributed.first(lambda: self._write_done(step))

    def _write_done(self, step: int) -> dict:
        save_predictions(self._folder, self._predictions)
        counts = self.stage.dataset.counts
        done = {
            "stage_key": self._key,
            "started_from": self._started_from,
            "steps": step,
            "epochs": self.stage.settings.epochs,
            "seconds": round(time.monotonic() - self._began, 2),
            "memory": memory.peaks(),
            "final": {name: metrics.summarize(found, counts) for name, found in self._predictions.items()},
            "best": best_epochs(self._log.read(self.stage.name)),
        }
        logs.write_json(self._done_file, done)
        return done

    def _record(self, step: int, kind: str, scalars: dict) -> None:
        epoch = -(-step // self.stage.settings.steps_per_epoch)
        self._log.write({"stage": self.stage.name, "step": step, "epoch": epoch, "kind": kind} | scalars)
        self._board.write(step, {f"{kind}/{name}": value for name, value in scalars.items()})

    def _diverged(self, what: str, value: object, step: int) -> None:
        raise UserError(
            f"{self._name}: {what} became {value} by step {step}; nothing of it was saved. Lower the stage's "
            "learning_rate or lengthen its warmup_percent (in a new --workdir), or find the first bad operation with "
            "--config.debug_nans=True"
        )


@jax.jit
def _all_finite(tree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def to_save(state: TrainState, constants: Constants) -> dict:
    """A checkpoint's tree: the state with whole parameters, so that it stands alone."""
    return {
        "step": state.step,
        "params": merge(state.params, constants.frozen),
        "batch_stats": state.batch_stats,
        "opt_state": state.opt_state,
        "method_state": state.method_state,
        "tally": state.tally,
    }


def from_saved(stage: Stage, tree: dict, constants: Constants) -> tuple[TrainState, Constants]:
    """The inverse of `to_save`."""
    trainable, frozen, _ = split(tree["params"], stage.group)
    return TrainState(**{**tree, "params": trainable}), constants.replace(frozen=frozen)


def best_epochs(records: list[dict]) -> dict:
    """The best evaluated epoch by test accuracy (what published numbers are) and, honestly, by validation accuracy.

    >>> best_epochs([{"kind": "test", "epoch": 1, "accuracy": 3.0}, {"kind": "test", "epoch": 2, "accuracy": 2.0}])
    {'on_test': {'epoch': 1, 'test_accuracy': 3.0}}
    """
    test = {r["epoch"]: r["accuracy"] for r in records if r["kind"] == "test"}
    validation = {r["epoch"]: r["accuracy"] for r in records if r["kind"] == "validation"}
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
        with (folder / f"predictions_{name}.npz").open("wb") as file:
            np.savez_compressed(file, confusion=confused, **vars(found))
