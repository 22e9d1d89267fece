"""The network as a function, as a method receives it."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax

from gcl_jax.models.features import Features

Variables = Mapping[str, Any]  # {"params": ..., and each mutable collection, such as "batch_stats": ...}
ModelState = dict[str, Any]  # the mutable collections


class Apply(Protocol):
    """The network: whole, or its backbone and its head alone for methods that do something between.

    ``variables`` is {"params": ..., **model_state}; ``key`` seeds dropout, where there is any, and may be None where
    there is none or ``train`` is off. Each returns the new model state beside its output.
    """

    def __call__(
        self, variables: Variables, images: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], ModelState]:
        """images float32[B, H, W, c] -> {"features" [B, D], "scores" [B, C], ...}."""

    def features(
        self,
        variables: Variables,
        images: jax.Array,
        *,
        train: bool,
        key: jax.Array | None = None,
        **options: Any,
    ) -> tuple[Features, ModelState]:
        """The backbone's features; ``options`` are its own: ``expert``, or ``upto`` and ``start`` (cut at a block)."""

    def head(
        self,
        variables: Variables,
        features: Features,
        *,
        train: bool,
        key: jax.Array | None = None,
        **options: Any,
    ) -> tuple[dict[str, jax.Array], ModelState]:
        """{"features", "scores", ...} of the head; ``options`` are its own."""
