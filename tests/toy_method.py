"""A method that uses nearly everything the contract offers; registered from outside, with no edit of the package.

Two streams, two views, a moving average in its state, a part of the network that trains, a head that starts from class
means, a weighted loss, a penalty and a logged scalar.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from gcl_jax import losses
from gcl_jax.methods import LossOut, Method, Stream
from gcl_jax.sampling import Reversed
from gcl_jax.vectors import normalize


@dataclasses.dataclass(frozen=True)
class Toy(Method):
    """CE on a two-view stream and on a reversed stream, features centered on a moving average."""

    scale: float = 16.0
    decay: float = 0.9
    agreement: float = 0.1

    heads: ClassVar[tuple[str, ...]] = ("cosine",)
    trainable: ClassVar[str] = "head/|backbone/layer3"
    restore: ClassVar[str] = "backbone/"
    needs: ClassVar[frozenset[str]] = frozenset({"class_means"})
    logged: ClassVar[tuple[str, ...]] = ("agreement", "tail_share")

    def streams(self):
        return {"main": Stream(views=2), "tail": Stream(sampler=Reversed())}

    def constants(self, counts):
        return {"weight": counts.sum() / (len(counts) * counts)}

    def init_params(self, key, variables, stats):
        return {**variables["params"], "head": {"kernel": normalize(stats.class_means, axis=1).T}}

    def init_state(self, key, variables, stats):
        return {"mean": jnp.zeros(stats.class_means.shape[1])}

    def prepare(self, key, streams, t):
        return {"views": streams["main"]["image"], "tail": streams["tail"]["image"],
                "label": jnp.concatenate([streams["main"]["label"], streams["tail"]["label"]])}  # fmt: skip

    def forward(self, key, apply, variables, method_state, batch, t, info, *, train):
        if not train:
            out, model_state = apply(variables, batch["image"], train=False)
            return out, model_state, method_state
        first, model_state = apply(variables, batch["views"][0], train=True)
        second, model_state = apply({**variables, **model_state}, batch["views"][1], train=True)
        tail, model_state = apply({**variables, **model_state}, batch["tail"], train=True)
        mean = self.decay * method_state["mean"] + (1 - self.decay) * first["features"].mean(0)
        out = {
            "scores": jnp.concatenate([first["scores"], tail["scores"]]),
            "agreement": jnp.mean(jnp.square(first["features"] - second["features"])),
        }
        return out, model_state, {"mean": mean}

    def loss(self, key, out, batch, t, stats):
        per_example = losses.cross_entropy(self.logits(out), batch["label"])
        weight = jnp.where(t.fraction > 0.5, stats.constants["weight"][batch["label"]], 1.0)
        metrics = {"agreement": out["agreement"], "tail_share": jnp.mean(batch["label"] > 4)}
        return LossOut(per_example, weight, self.agreement * out["agreement"], metrics)

    def logits(self, out):
        return self.scale * out["scores"]
