"""Train and evaluate: python -m gcl_jax.main --config=configs/digits_lt.py:gcl --workdir=DIR."""

from gcl_jax.runtime import command, preemption

if __name__ == "__main__":  # what follows takes a second to import
    preemption.handle_signals_while_importing()
    command.begin()

import sys

from absl import app, flags, logging

from gcl_jax import command_line
from gcl_jax.config import validation
from gcl_jax.errors import UserError, exit_on_user_error
from gcl_jax.runtime import backend, distributed, jax_settings, leaving

with exit_on_user_error():
    _CONFIG = command_line.define_config(sys.argv)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; started again, it goes on where it stands.")
_EVAL_ONLY = flags.DEFINE_bool("eval_only", False, "Evaluate the run in --workdir and write eval.json.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, for a run of several processes.")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many processes the run has, with --coordinator.", upper_bound=100_000
)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0 on, with --coordinator.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "Let JAX find the run's processes: Cloud TPU, SLURM, Open MPI, Kubernetes (pip install 'jax[k8s]').",
)


@exit_on_user_error()
@preemption.signal_handlers()
@distributed.abort_on_local_error()
def main(argv: list[str]) -> None:
    """Run the experiment; a UserError becomes one line and exit status 1, a signal a saved step and status 0."""
    logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a save
    backend.keep_freed_memory()
    distributed.start(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value, autodetect=_DISTRIBUTED.value)
    jax_settings.pin()
    distributed.all_or_raise(lambda: validation.validate(_CONFIG.value))  # once all can be told
    from gcl_jax.runtime import compilation_cache  # now that the config is good: the heavy half
    from gcl_jax.training import experiment

    compilation_cache.use()
    result = experiment.run(
        _CONFIG.value, str(_WORKDIR.value), overrides=command_line.overrides(), eval_only=_EVAL_ONLY.value
    )
    if "across_seeds" in result:
        experiment.logs.log_info(experiment.results.format_seeds(result))


@exit_on_user_error()
def _parse(argv: list[str]) -> list[str]:
    command_line.parse(argv)
    if not _WORKDIR.value:
        raise UserError("--workdir is missing; name a folder for the run's checkpoints and results")
    return argv


def _command(argv: list[str]) -> None:
    with leaving.exit_within():
        main(argv)


if __name__ == "__main__":
    app.run(_command, flags_parser=_parse)
