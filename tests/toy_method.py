"""A method that uses nearly everything the contract offers; registered from outside, with no edit of the package.

Two streams, two views, a moving average in its state, a group with its own learning rate and decay, a head that
starts from class means, a weighted loss, a penalty and a logged scalar.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from gcl_jax import losses
from gcl_jax.methods import Group, LossOut, Method, Stream
from gcl_jax.sampling import Reversed
from gcl_jax.vectors import normalize


@dataclasses.dataclass(frozen=True)
class Toy(Method):
    """CE on a two-view stream and on a reversed stream, features centred on a moving average."""

    head: str = "cosine"
    scale: float = 16.0
    decay: float = 0.9
    agreement: float = 0.1

    needs: ClassVar[frozenset[str]] = frozenset({"class_means"})
    logged: ClassVar[tuple[str, ...]] = ("agreement", "tail_share")

    def streams(self):
        return {"main": Stream(views=2), "tail": Stream(sampler=Reversed())}

    def group(self, path):
        if path[0] == "head":
            return "head"
        return "last" if path[1].startswith("layer3") else None

    def groups(self):
        return {"head": Group(), "last": Group(lr_factor=0.1, weight_decay=0.0)}

    def inherits(self, path):
        return path[0] != "head"

    def constants(self, counts):
        return {"weight": counts.sum() / (len(counts) * counts)}

    def init_params(self, key, params, stats):
        return {**params, "head": {"kernel": normalize(stats.class_means, axis=1).T}}

    def init_state(self, key, params, stats):
        return {"mean": jnp.zeros(stats.class_means.shape[1])}

    def prepare(self, key, streams, t):
        return {"views": streams["main"]["image"], "tail": streams["tail"]["image"],
                "label": jnp.concatenate([streams["main"]["label"], streams["tail"]["label"]])}  # fmt: skip

    def forward(self, apply, params, batch_stats, method_state, batch, *, train):
        if not train:
            out, batch_stats = apply(params, batch_stats, batch["image"], False)
            return out, batch_stats, method_state
        first, batch_stats = apply(params, batch_stats, batch["views"][0], True)
        second, batch_stats = apply(params, batch_stats, batch["views"][1], True)
        tail, batch_stats = apply(params, batch_stats, batch["tail"], True)
        mean = self.decay * method_state["mean"] + (1 - self.decay) * first["features"].mean(0)
        out = {
            "scores": jnp.concatenate([first["scores"], tail["scores"]]),
            "agreement": jnp.mean(jnp.square(first["features"] - second["features"])),
        }
        return out, batch_stats, {"mean": mean}

    def loss(self, key, out, batch, t, stats):
        per_example = losses.cross_entropy(self.logits(out), batch["label"])
        weight = jnp.where(t.fraction > 0.5, stats.constants["weight"][batch["label"]], 1.0)
        metrics = {"agreement": out["agreement"], "tail_share": jnp.mean(batch["label"] > 4)}
        return LossOut(per_example, weight, self.agreement * out["agreement"], metrics)

    def logits(self, out):
        return self.scale * out["scores"]
