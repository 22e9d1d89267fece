"""The start of every command, before its slow imports."""

from gcl_jax.errors import exit_on_user_error
from gcl_jax.runtime import jax_settings, leaving, streams


@exit_on_user_error()
def begin() -> None:
    """Prepare the process: how it ends, its output streams, and the environment's settings of JAX.

    To be called in a module that is run, before its other imports. A program that imports gcl_jax as a library does not
    call this, and keeps its own settings.
    """
    leaving.skip_teardown()
    streams.guard()
    jax_settings.drop_unused()
