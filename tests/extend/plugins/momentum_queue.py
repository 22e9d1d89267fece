"""A queue of keys from a momentum encoder (He et al. 2020), with labels, as PaCo (Cui et al. 2021) uses it."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from gcl_jax import losses
from gcl_jax.methods import LossOut, Method, Stream, register
from gcl_jax.ranges import ranged
from gcl_jax.vectors import normalize


@dataclasses.dataclass(frozen=True)
class MomentumQueue(Method):
    """Cross-entropy, and a supervised contrast of one view's features with a queue of the momentum encoder's."""

    size: int = ranged(128, "[1, 1000000]")
    decay: float = ranged(0.99, "[0, 0.9999999]")
    temperature: float = ranged(0.2, "[1e-3, 100]")
    contrast: float = ranged(0.5, "[0, 100]")

    heads: ClassVar[tuple[str, ...]] = ("linear",)
    logged: ClassVar[tuple[str, ...]] = ("filled",)

    def streams(self):
        return {"main": Stream(views=2)}

    def init_state(self, key, variables, info):
        keys = normalize(jax.random.normal(key, (self.size, len(variables["params"]["head"]["kernel"]))), axis=1)
        labels = jnp.full(self.size, -1)  # nobody's
        return {"encoder": dict(variables), "keys": keys, "labels": labels}

    def forward(self, key, apply, variables, method_state, batch, t, info, *, train):
        if not train:
            return *apply(variables, batch["image"], train=False), method_state
        query, model_state = apply(variables, batch["image"][0], train=True, key=key)
        encoder = method_state["encoder"]  # with batch statistics of its own
        features, encoder_state = apply.features(encoder, batch["image"][1], train=True, key=key)
        new = normalize(jax.lax.stop_gradient(features.pooled), axis=1)
        out = query | {"keys": method_state["keys"], "key_labels": method_state["labels"]}
        keys = jnp.concatenate([new, method_state["keys"]])[: self.size]
        labels = jnp.concatenate([batch["label"], method_state["labels"]])[: self.size]
        return out, model_state, {"encoder": {**encoder, **encoder_state}, "keys": keys, "labels": labels}

    def loss(self, key, out, batch, t, info):
        similarity = normalize(out["features"], axis=1) @ out["keys"].T / self.temperature
        there = out["key_labels"] >= 0
        positive = (batch["label"][:, None] == out["key_labels"]).astype(jnp.float32)
        log_p = jax.nn.log_softmax(jnp.where(there, similarity, -1e9), axis=1)
        contrast = -jnp.sum(positive * log_p, axis=1) / jnp.maximum(positive.sum(1), 1)
        per_example = losses.cross_entropy(out["scores"], batch["label"]) + self.contrast * contrast
        return LossOut(per_example, metrics={"filled": there.mean()})

    def after_update(self, params, method_state, t, info):
        encoder = method_state["encoder"]
        average = optax.incremental_update(params, encoder["params"], 1 - self.decay)
        return params, method_state | {"encoder": {**encoder, "params": average}}


register("momentum_queue", MomentumQueue)
