"""The host's answer to numbers that are not finite: report them; then stop, or go on without that step."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gcl_jax import logs
from gcl_jax.errors import UserError
from gcl_jax.training import non_finite
from gcl_jax.training.stage import Stage
from gcl_jax.training.train_state import TrainState
from gcl_jax.typing import PyTree
from gcl_jax.workdir.seed_dir import StageDir

_HINT = (
    "Lower the stage's learning_rate or lengthen its warmup_percent (in a new --workdir), {}find the first bad "
    "operation with --config.debug_nans=True"
)


class NonFiniteWatch:
    """Watches one seed's run of a ``stage``: reports steps with non-finite numbers, raises UserError if it has to end.

    ``state`` is any state of the run, for the names of its arrays; ``name`` is the run's in log lines. ``skipped`` are
    the steps skipped so far.
    """

    def __init__(self, stage: Stage, seed: int, folder: StageDir, name: str, state: TrainState):
        self._stage, self._seed, self._folder, self._name = stage, seed, folder, name
        params = stage.trained(state.params)
        self._arrays = non_finite.array_names(
            params, state.model_state, state.method_state, state if stage.skips else None
        )
        self._max_skips = stage.config.non_finite.max_skips
        self.skipped: list[int] = []
        self.last_saved = 0

    def resumed(self, step: int, state: TrainState, skipped: Sequence[int]) -> TrainState:
        """``state``, restored from the checkpoint of ``step``, with the record of the ``skipped`` steps up to there."""
        self.skipped, self.last_saved = [past for past in skipped if past <= step], step
        if not self._stage.skips:
            return state
        if len(self.skipped) > self._max_skips:
            raise self._too_many(f"{self._name}: ")
        empty = non_finite.empty_skip_record(self._max_skips, state)
        return state.replace(skipped=self._stage.replicate(non_finite.resumed_skip_record(empty, self.skipped)))

    def check(self, step: int, first_nonfinite: Mapping, skipped: Mapping | None) -> None:
        """Report what was not finite up to ``step``; the records are those of `TrainState`, fetched."""
        if first_nonfinite["step"]:
            self._stop(first_nonfinite, step)
        if not skipped:
            return
        for i in range(len(self.skipped), min(int(skipped["count"]), self._max_skips + 1)):
            record = {"step": skipped["steps"][i], "loss": skipped["loss"][i], "counts": skipped["counts"][i]}
            self.skipped.append(int(record["step"]))
            message = self._report(record, step)
            if i >= self._max_skips:
                raise self._too_many(message)
            logs.log_info(f"warning: {message}It was skipped ({i + 1} of {self._max_skips})")

    def require_finite(self, step: int, state: TrainState) -> None:
        """`check` of ``state`` after ``step``; UserError if a number in it is not finite, so that none is saved."""
        first_nonfinite, skipped = jax.device_get((state.first_nonfinite, state.skipped))
        self.check(step, first_nonfinite, skipped)
        # Each step records its results; what a stage starts from has no step before it.
        if not _all_finite((state.params, state.model_state, state.method_state)):
            self._stop(first_nonfinite, step)

    def learning_rate(self, step: int) -> float:
        """The learning rate of ``step``, counted from 1."""
        return float(f"{float(self._stage.settings.schedule(step - 1)):.7g}")  # float32 has no more digits

    def _stop(self, record: Mapping, noticed_after: int) -> None:
        if not (record["step"] or noticed_after):
            raise UserError(f"{self._name} starts from numbers that are not finite: train the stage before again")
        skip = "leave such batches out with --config.non_finite.action=skip, or "
        raise UserError(f"{self._report(record, noticed_after)}Nothing of it was saved. {_HINT.format(skip)}")

    def _too_many(self, message: str) -> UserError:
        return UserError(
            f"{message}More than config.non_finite.max_skips = {self._max_skips} steps were skipped "
            f"({', '.join(map(str, self.skipped))}). {_HINT.format('or ')}"
        )

    def _report(self, record: Mapping, noticed_after: int) -> str:
        """Write the report of one step that was not finite; returns the message for people."""
        step, loss = int(record["step"]) or noticed_after, str(float(record["loss"]))
        counts = np.asarray(record["counts"])
        # `record_first` counts the first of the arrays, `skip_nonfinite` all.
        nonfinite = {name: int(n) for name, n in zip(self._arrays, counts, strict=False) if n}
        rate = self.learning_rate(step)
        file = self._folder.write_nonfinite(
            step,
            {
                "stage": self._stage.name,
                "seed": self._seed,
                "step": step,
                "noticed_after_step": noticed_after,
                "learning_rate": rate,
                "loss": loss,
                "batch": self._stage.input_pipeline.entries(self._seed, step),
                **non_finite.report(nonfinite, self._arrays),
                "last_good_checkpoint": self.last_saved,
            },
        )
        return (
            f"{self._name}: a number became not finite at step {step} (loss {loss}, learning rate {rate:g}, "
            f"{len(nonfinite)} of {len(self._arrays)} arrays); {file} lists the batch and what is wrong. "
        )


@jax.jit
def _all_finite(tree: PyTree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
