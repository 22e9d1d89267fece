"""The host loop: dispatch steps; log, evaluate and save when they are due."""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from gcl_jax import logs
from gcl_jax.runtime import preemption
from gcl_jax.training.pace import Pace
from gcl_jax.training.train_state import TrainState
from gcl_jax.training.train_step import StepInputs, StepSettings


def length(
    first: int, per_epoch: int, *, log_every: int, save_every: int, most: int, alone: Collection[int] = ()
) -> int:
    """How many steps the dispatch takes that begins after step ``first`` of a stage.

    It crosses no end of an epoch, and no step at which a log line (counted within the epoch) or a checkpoint (counted
    from the start) is due, and is no longer than ``most``. The steps ``alone`` have one to themselves.

    >>> length(10, 10, log_every=4, save_every=15, most=3)
    3
    """
    within, end = first % per_epoch, (first // per_epoch + 1) * per_epoch
    due = (first - within + (within // log_every + 1) * log_every, (first // save_every + 1) * save_every)
    cuts = (cut for step in alone for cut in (step - 1, step) if cut > first)
    return min(*due, first + most, end, *cuts) - first


def lengths(first: int, per_epoch: int, **due) -> list[int]:
    """`length` of each dispatch from step ``first`` of a stage to the end of that epoch.

    >>> lengths(10, 10, log_every=4, save_every=15, most=3)
    [3, 1, 1, 3, 2]
    >>> lengths(0, 6, log_every=6, save_every=6, most=6, alone=[3])
    [2, 1, 3]
    """
    found, end = [], (first // per_epoch + 1) * per_epoch
    while first < end:
        found.append(length(first, per_epoch, **due))
        first += found[-1]
    return found


def train(
    state: TrainState,
    *,
    stage: str,
    first: int,
    step: Callable[[TrainState, StepInputs, Any, np.int32], tuple[TrainState, dict]],
    inputs: StepInputs,
    blocks: Callable[[int, int, Iterable[int]], Iterator[Any]],
    settings: StepSettings,
    steps_per_call: int,
    eval_every_epochs: int,
    save_every_steps: int,
    on_log: Callable[[int, dict[str, np.ndarray]], str],
    on_eval: Callable[[int, TrainState], Callable[[], None]],
    on_save: Callable[[int, TrainState, bool], None],
    save_now: Callable[[], bool] = lambda: False,
    alone: Collection[int] = (),
) -> TrainState:
    """Train from step ``first`` to the end of the stage.

    ``blocks(epoch, row, lengths)`` yields what each dispatch consumes, from ``row`` of the epoch
    on, and takes the next length when it is asked for the next block. A dispatch has at most
    ``steps_per_call`` steps and lasts about `pace.SECONDS` at most, and at most one waits behind the one that runs.
    The order at each step is pinned: update, log, evaluate, save. A checkpoint thus never
    stands for a step whose lines are not in metrics.jsonl yet, and a resumed run repeats nothing.
    Numbers are fetched after the next dispatch, so that the device never waits for the host:
    ``on_log`` gets metric sums and returns what the progress bar shows of it; ``on_eval`` dispatches and
    returns what fetches.

    ``save_now`` is asked where a log line is due, and can ask for a checkpoint there. Where `preemption` says to stop,
    the step is saved and `preemption.Stopped` raised; if that cuts off an evaluation, ``on_save`` is told (its last
    argument) that the step's is pending. ``alone`` are steps that get a dispatch to themselves.
    """
    per_epoch = settings.steps_per_epoch
    total = settings.epochs * per_epoch
    done, late, taken, pace = first, [], [], Pace(steps_per_call)

    with logs.progress(stage, done, total) as bar:

        def log(step, metric_sums):
            bar.set_postfix_str(on_log(step, jax.device_get(metric_sums)), refresh=False)

        def flush():
            while late:
                late.pop(0)()

        def sizes():
            end = (done // per_epoch + 1) * per_epoch
            while done < end:
                size = length(
                    done,
                    per_epoch,
                    log_every=settings.log_every,
                    save_every=save_every_steps,
                    most=pace.steps(),
                    alone=alone,
                )
                taken.append(size)
                yield size

        while done < total:
            for block in blocks(done // per_epoch, done % per_epoch, sizes()):
                size = taken.pop()
                state, metric_sums = step(state, inputs, block, np.int32(size))
                bar.update(pace.dispatched(size, metric_sums))
                flush()
                done += size
                within = done % per_epoch
                save_due, pending_eval = done == total or done % save_every_steps == 0, False
                if within == 0 or within % settings.log_every == 0:
                    late.append(partial(log, done, metric_sums))
                    save_due |= save_now()
                if within == 0 and (done == total or done // per_epoch % eval_every_epochs == 0):
                    try:
                        late.append(on_eval(done, state))
                    except preemption.Stopped:
                        pending_eval = True
                stop = pending_eval or preemption.should_stop()
                if save_due or stop:
                    flush()
                    on_save(done, state, pending_eval)
                if stop:
                    raise preemption.Stopped(
                        f"{stage}: stopped after step {done} of {total}, which is saved; the same command goes on"
                    )
        bar.update(pace.wait())
    return state
