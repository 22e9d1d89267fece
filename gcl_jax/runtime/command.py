"""The start of every command, before it imports what takes a second."""

from gcl_jax.errors import exit_on_user_error
from gcl_jax.runtime import jax_settings, leaving, streams


@exit_on_user_error()
def begin() -> None:
    """Guard what the command prints, and leave out the settings of JAX that it does not use.

    To be called in a module that is run, before its other imports; a library keeps what its user has chosen.
    """
    leaving.without_teardown()
    streams.guard()
    jax_settings.leave_out()
