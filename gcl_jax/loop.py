"""The host loop: dispatch steps; log, evaluate and save when they are due."""

import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from gcl_jax import logs
from gcl_jax.errors import UserError
from gcl_jax.train_state import TrainState
from gcl_jax.train_step import Constants, StepSettings


def train(
    state: TrainState,
    *,
    stage: str,
    step: Callable[[TrainState, Constants, dict], TrainState],
    constants: Constants,
    epoch_items: Callable[[int, int], Iterator[dict]],
    settings: StepSettings,
    eval_every_epochs: int,
    save_every_steps: int,
    on_log: Callable[[int, dict[str, float]], None],
    on_eval: Callable[[int, TrainState], None],
    on_save: Callable[[int, TrainState], None],
) -> TrainState:
    """Train from ``state.step`` to the end of the stage.

    ``epoch_items(epoch, first)`` yields the items of an epoch from row ``first`` on. The order at
    each step is pinned: update, log, evaluate, save. A checkpoint thus never stands for a step
    whose lines are not in metrics.jsonl yet, and a resumed run repeats nothing.

    Raises UserError when the loss is not finite, before such parameters could be saved.
    """
    per_epoch = settings.steps_per_epoch
    total = settings.epochs * per_epoch
    done = int(state.step)
    with logs.progress(stage, done, total) as bar:
        while done < total:
            for item in epoch_items(done // per_epoch, done % per_epoch):
                state = step(state, constants, item)
                done += 1
                bar.update()
                within = done % per_epoch
                log_due = within == 0 or within % settings.log_every == 0
                save_due = done == total or done % save_every_steps == 0
                if log_due or save_due:
                    means = _means(state, stage, done)
                if log_due:
                    bar.set_postfix(loss=f"{means['loss']:.3f}")
                    on_log(done, means)
                if within == 0 and (done == total or done // per_epoch % eval_every_epochs == 0):
                    on_eval(done, state)
                if save_due:
                    _require_finite(state, stage, done)
                    on_save(done, state)
    return state


@jax.jit
def _all_finite(tree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _require_finite(state: TrainState, stage: str, done: int) -> None:
    # The loss of a step says nothing of the update it made, which is what a checkpoint would keep.
    if not _all_finite((state.params, state.batch_stats, state.method_state)):
        _diverged(stage, "a parameter or statistic", "not finite", done)


def _diverged(stage: str, what: str, value: object, done: int) -> None:
    raise UserError(
        f"{stage}: {what} became {value} by step {done}; nothing of it was saved. Lower the stage's "
        "learning_rate or lengthen its warmup_percent (in a new --workdir), or find the first bad operation with "
        "--config.debug_nans=True"
    )


def _means(state: TrainState, stage: str, done: int) -> dict[str, float]:
    tally = {name: float(value) for name, value in jax.device_get(state.tally).items()}
    count = tally.pop("count")
    means = {name: value / count for name, value in tally.items()}
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad:
        _diverged(stage, bad[0], means[bad[0]], done)
    return means
