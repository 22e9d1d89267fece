"""Long-tailed visual recognition in JAX: GCL and the systems it is compared with.

Importing the package loads nothing heavy; import the room you need, for example
``from gcl_jax import losses``.
"""

__version__ = "0.1.0"
