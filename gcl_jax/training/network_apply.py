"""The network as a method receives it, with batch norm as its stage has it."""

import dataclasses
from typing import Any

import jax

from gcl_jax import rng
from gcl_jax.methods.apply import Apply, ModelState, Variables
from gcl_jax.models import Network


@dataclasses.dataclass(frozen=True)
class NetworkApply(Apply):
    """`Apply` of ``network``; with ``bn`` = "frozen" its backbone is as in evaluation, in training too.

    ``bn`` = "stats_only" is as "train" here, where `param_labels` freezes what it scales by. With ``bn_scope``, the
    name of a block of the backbone, everything outside it uses running statistics. The head is always trained as such.
    """

    network: Network
    bn: str
    bn_scope: str = ""

    def __call__(self, variables, images, *, train, key=None):
        features, model_state = self.features(variables, images, train=train, key=key)
        return self.head({**variables, **model_state}, features, train=train, key=key)

    def features(self, variables, images, *, train, key=None, **options):
        train = train and self.bn != "frozen"
        if train and self.bn_scope:
            options["bn_scope"] = self.bn_scope
        return self._run(Network.features, variables, images, train, key, options)

    def head(self, variables, features, *, train, key=None, **options):
        return self._run(Network.classify, variables, features, train, key, options)

    def _run(
        self, method: Any, variables: Variables, inputs: Any, train: bool, key: jax.Array | None, options: dict
    ) -> tuple[Any, ModelState]:
        model_state = {name: tree for name, tree in variables.items() if name != "params"}
        if not train:
            return self.network.apply(variables, inputs, train=False, method=method, **options), model_state
        out, updated = self.network.apply(
            variables,
            inputs,
            train=True,
            method=method,
            mutable=list(model_state),
            rngs=None if key is None else {"dropout": rng.fold(key, "dropout")},
            **options,
        )
        return out, {name: {**tree, **updated.get(name, {})} for name, tree in model_state.items()}
