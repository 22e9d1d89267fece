"""Long-tailed visual recognition in JAX: GCL and the systems it is compared with.

Importing the package loads nothing heavy; import the room you need, for example ``from gcl_jax import losses``.
``gcl_jax.train("digits_lt:gcl,100", "runs/gcl")`` trains from Python what `gcl_jax.main` trains from a terminal.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcl_jax.api import train

__version__ = "0.1.0"
__all__ = ["__version__", "train"]


def __getattr__(name: str) -> object:
    if name == "train":
        from gcl_jax.api import train

        return train
    raise AttributeError(f"module 'gcl_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
