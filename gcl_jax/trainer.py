"""Run one stage for one seed: start or resume, train, evaluate, and leave DONE.json."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from gcl_jax import config as config_lib
from gcl_jax import handover, logs, metrics
from gcl_jax.checkpoint import Checkpoints
from gcl_jax.errors import UserError
from gcl_jax.loop import train
from gcl_jax.stage import Stage
from gcl_jax.train_state import TrainState, merge, split
from gcl_jax.train_step import Constants
from gcl_jax.workdir import read_json

# What an evaluation writes to metrics.jsonl; result.json has everything.
LOGGED = ("accuracy", "top5", "many", "medium", "few", "macro_recall", "nll", "ece")


def run_stage(stage: Stage, seed: int, workdir: epath.Path, stage_before: str | None) -> dict:
    """Train ``stage`` to its end, or on from its newest checkpoint; returns what DONE.json holds.

    A stage whose DONE.json is there is not touched again. Raises UserError when its checkpoints
    are another run's, and when what it should start from is missing.
    """
    folder = workdir / stage.name
    done_file = folder / "DONE.json"
    if done_file.exists():
        return read_json(done_file)
    if stage_before and not stage.block.init_from and not (workdir / stage_before / "checkpoints").exists():
        raise UserError(
            f"{stage.name} starts from {workdir / stage_before}, which is marked done but has no checkpoints any more: "
            "remove its DONE.json to train it again"
        )
    origin = stage.block.init_from or (str(workdir / stage_before) if stage_before else "")
    found = handover.load(origin, stage_before) if origin else None
    state, constants, started_from = stage.start(seed, found, origin)
    keys = config_lib.training_keys(stage.config, stage.name) | {"seed": seed}
    key = config_lib.stage_key(keys, f"{stage.dataset.fingerprint} {started_from}")
    log = logs.MetricsLog(workdir / "metrics.jsonl")
    began, latest_predictions = time.monotonic(), {}

    with Checkpoints(folder / "checkpoints", stage.config.checkpoint.keep) as checkpoints:
        if (latest := checkpoints.latest()) is not None:
            tree, note = checkpoints.restore(latest, to_save(state, constants))
            if note["stage_key"] != key:
                raise UserError(
                    f"{folder} holds checkpoints of another run (its data, seed, start or config differ): choose "
                    "another --workdir, or remove that folder to train anew"
                )
            state, constants = from_saved(stage, tree, constants)
            began -= note["seconds"]
            logs.say(f"{stage.name}: resuming after step {latest}")
        log.cut_back(stage.name, int(state.step))
        board = logs.TensorBoard(folder / "tensorboard", stage.config.log.tensorboard)
        spe, epochs = stage.settings.steps_per_epoch, stage.settings.epochs

        def record(step: int, kind: str, scalars: dict) -> None:
            log.write({"stage": stage.name, "step": step, "epoch": -(-step // spe), "kind": kind} | scalars)
            board.write(step, {f"{kind}/{name}": value for name, value in scalars.items()})

        def on_log(step: int, means: dict) -> None:
            record(step, "train", means | {"learning_rate": stage.settings.learning_rates[(step - 1) // spe]})

        def on_eval(step: int, state: TrainState) -> None:
            latest_predictions.update(stage.evaluate(stage.variables(state, constants), constants.stats))
            for name, predictions in latest_predictions.items():
                summary = metrics.summarize(predictions, stage.dataset.counts)
                record(step, name, {k: summary[k] for k in LOGGED})
                logs.say(f"{stage.name}: epoch {step // spe} of {epochs}, {name} accuracy {summary['accuracy']:.2f} %")

        def on_save(step: int, state: TrainState) -> None:
            note = {"stage_key": key, "seconds": time.monotonic() - began, "class_names": stage.dataset.class_names}
            # A copy: the step donates these buffers while the save still reads them.
            checkpoints.save(step, jax.tree.map(jnp.copy, to_save(state, constants)), note)

        state = train(
            state,
            stage=stage.name,
            step=stage.step,
            constants=constants,
            epoch_items=lambda epoch, first: stage.epoch_items(seed, epoch, first),
            settings=stage.settings,
            eval_every_epochs=stage.config.eval.every_epochs,
            save_every_steps=stage.config.checkpoint.every_steps,
            on_log=on_log,
            on_eval=on_eval,
            on_save=on_save,
        )
        board.close()
        # A run killed between its last checkpoint and DONE.json comes back with nothing left to train.
        predictions = latest_predictions or stage.evaluate(stage.variables(state, constants), constants.stats)
    save_predictions(folder, predictions, stage.dataset.num_classes)
    done = {
        "stage_key": key,
        "started_from": started_from,
        "steps": int(state.step),
        "epochs": epochs,
        "seconds": round(time.monotonic() - began, 2),
        "final": {name: metrics.summarize(found, stage.dataset.counts) for name, found in predictions.items()},
        "best": best_epochs(log.read(stage.name)),
    }
    logs.write_json(done_file, done)
    return done


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


def save_predictions(folder: epath.Path, predictions: dict[str, metrics.Predictions], num_classes: int) -> None:
    """Write every example's prediction and the confusion matrix to predictions_SPLIT.npz."""
    for name, found in predictions.items():
        matrix = metrics.confusion_matrix(found.label, found.predicted, num_classes)
        with (folder / f"predictions_{name}.npz").open("wb") as file:
            np.savez_compressed(file, confusion_matrix=matrix, **vars(found))
