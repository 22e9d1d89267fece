"""The methods, one file each, and their registry. A new method is one file and one line here."""

from gcl_jax.errors import UserError
from gcl_jax.methods.base import ClassStats, Group, LossOut, Method, Stream, Time
from gcl_jax.methods.cross_entropy import CrossEntropy
from gcl_jax.methods.gcl import GCL, AngularGCL

METHODS: dict[str, type[Method]] = {
    "cross_entropy": CrossEntropy,
    "gcl": GCL,
    "gcl_angular": AngularGCL,
}


def register(name: str, method: type[Method]) -> None:
    """Make ``method`` available as ``config.STAGE.method.name = name`` (for methods kept outside this package).

    Raises UserError if the name is taken by another class.
    """
    if METHODS.setdefault(name, method) is not method:
        raise UserError(f"a method called {name!r} is registered already: choose another name")


__all__ = ["METHODS", "ClassStats", "Group", "LossOut", "Method", "Stream", "Time", "register"]
