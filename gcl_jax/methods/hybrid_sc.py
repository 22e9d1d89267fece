"""Hybrid-SC and Hybrid-PSC (Wang et al. 2021): contrastive features first, a balanced classifier at last."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from gcl_jax import contrastive, losses
from gcl_jax.errors import require_one_of
from gcl_jax.methods.base import LossOut, Method, Stream
from gcl_jax.ranges import ranged
from gcl_jax.sampling import ClassBalanced


@dataclasses.dataclass(frozen=True)
class HybridSC(Method):
    """a L_SC + (1 - a) L_CE, a = 1 - (e / E)^2 with e from 1: first the features, at last the classifier (eq. 7).

    L_SC is the mean over the anchors of an instance-balanced batch, in two views where ``contrast`` = "supervised" and
    in one where it is "prototypical"; L_CE that of a class-balanced batch. Both go through the network in one pass, so
    that batch norm sees them together (the paper does not say). Prediction is the classifier's.
    """

    label_mixing: ClassVar[str] = "refused"  # the contrast is of classes

    contrast: str = "supervised"
    temperature: float = ranged(0.1, "[1e-3, 1000]")
    grayscale: float = ranged(0.2, "[0, 1]")

    def __post_init__(self):
        super().__post_init__()
        require_one_of("contrast", self.contrast, ("supervised", "prototypical"))

    @property
    def heads(self):
        return ("projection",) if self.contrast == "supervised" else ("projection_prototypes",)

    def streams(self):
        views = 2 if self.contrast == "supervised" else 1
        return {
            "main": Stream(views=views, grayscale=self.grayscale),
            "balanced": Stream(sampler=ClassBalanced(), grayscale=self.grayscale),
        }

    def prepare(self, key, streams, t):
        anchors, labels = streams["main"]["image"], streams["main"]["label"]
        if self.contrast == "supervised":
            anchors, labels = anchors.reshape(-1, *anchors.shape[2:]), jnp.tile(labels, 2)
        share = 1 - jnp.square((t.epoch + 1) / t.epochs)
        return {**streams["balanced"], "anchor": {"image": anchors, "label": labels}, "share": share}

    def forward(self, key, apply, variables, method_state, batch, t, info, *, train):
        images = batch["image"]
        if train:
            images = jnp.concatenate([batch["anchor"]["image"], images])
        out, model_state = apply(variables, images, train=train, key=key)
        if train:
            anchors = len(batch["anchor"]["label"])
            out = {**out, "scores": out["scores"][anchors:], "projection": out["projection"][:anchors]}
        return out, model_state, method_state

    def loss(self, key, out, batch, t, info):
        z, labels = out["projection"], batch["anchor"]["label"]
        if self.contrast == "supervised":
            contrast = contrastive.supervised_contrastive(z, labels, temperature=self.temperature)
        else:
            contrast = contrastive.prototypical_contrastive(z, labels, out["prototypes"], temperature=self.temperature)
        per_example = (1 - batch["share"]) * losses.cross_entropy(out["scores"], batch["label"])
        return LossOut(per_example, aux_loss=batch["share"] * contrast.mean())
