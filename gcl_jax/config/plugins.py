"""Modules from outside that a config names, imported by every command: they register methods, optimizers, metrics."""

import importlib
from collections.abc import Mapping

from gcl_jax.errors import UserError


def load_plugins(config: Mapping) -> None:
    """Import the modules in ``config["plugins"]``, such as ("my_package.my_method",).

    Raises UserError for one that cannot be imported, with what it raised.
    """
    names = config.get("plugins", ())
    for name in names if isinstance(names, tuple | list) else ():
        try:
            importlib.import_module(name)
        except UserError:
            raise
        except Exception as error:  # it is the user's code
            raise UserError(
                f"config.plugins: {name!r} cannot be imported ({type(error).__name__}: {error}); install it, or put "
                "the folder that holds it on PYTHONPATH"
            ) from error
