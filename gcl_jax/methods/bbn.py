"""Bilateral-branch network (Zhou et al. 2020): one branch for the data as they are, one for their reverse."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from gcl_jax import losses
from gcl_jax.methods.base import LossOut, Method, Stream
from gcl_jax.models.features import Features
from gcl_jax.ranges import ranged
from gcl_jax.sampling import Reversed


@dataclasses.dataclass(frozen=True)
class BBN(Method):
    """l CE(z, y_c) + (1 - l) CE(z, y_r) with z = FC(2 [l f_c ; (1 - l) f_r]) (BBN, eq. 1-3).

    f_c is the conventional branch's feature of a uniform batch, f_r the re-balancing branch's of a reversed one (class
    i with probability ~ 1 / n_i); l = 1 - (e / E)^2 with e from 0 falls over the epochs, so that learning moves to the
    tail. Prediction reads the same image through both branches, FC([f_c ; f_r]). It needs a
    backbone of two experts, its branches.
    ``horizon`` is E, after which l stays 0; 0 is the stage's epochs (published code: 100 for 90 and 200 for 180).
    """

    horizon: int = ranged(0, "[0, 1000000]")

    heads: ClassVar[tuple[str, ...]] = ("linear_uniform", "linear")
    experts: ClassVar[int] = 2
    label_mixing: ClassVar[str] = "refused"

    def streams(self):
        return {"main": Stream(), "reversed": Stream(sampler=Reversed())}

    def prepare(self, key, streams, t):
        share = 1 - jnp.square(jnp.minimum(t.epoch / (self.horizon or t.epochs), 1.0))
        return {**streams["main"], "reversed": streams["reversed"], "share": share}

    def forward(self, key, apply, variables, method_state, batch, t, info, *, train):
        if not train:
            out, model_state = apply(variables, batch["image"], train=False)
            return out, model_state, method_state
        common, model_state = apply.features(variables, batch["image"], train=True, key=key, expert=0)
        variables = {**variables, **model_state}
        rare, model_state = apply.features(variables, batch["reversed"]["image"], train=True, key=key, expert=1)
        share = batch["share"]
        mixed = Features(pooled=2 * jnp.concatenate([share * common.pooled, (1 - share) * rare.pooled], axis=1))
        out, model_state = apply.head({**variables, **model_state}, mixed, train=True, key=key)
        return out, model_state, method_state

    def loss(self, key, out, batch, t, info):
        common, rare = (losses.cross_entropy(out["scores"], y) for y in (batch["label"], batch["reversed"]["label"]))
        return LossOut(batch["share"] * common + (1 - batch["share"]) * rare)
